# Reads the tests of data sets once, away from any submission. When all that a row's tests say is `f(literals) == value`, they
# become calls and values, and the values never enter the sandbox of a submission. Other tests become units for harness.py:
# each check is marked, and what a framework would call (test functions, unittest classes, check(candidate)) is named. What
# nothing would call, what is not known here, and what checks nothing is refused by name.
import ast
import builtins
import importlib.util
import json
import os
import signal
import sys

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
FIXTURES = ('capsys', 'tmp_path')
PYTEST = {'raises', 'warns', 'approx', 'param', 'mark', 'fixture', 'fail', 'importorskip', 'main', 'skip'}
# Tests with these reach into the process of the submission.
TOGETHER = {'patch', 'mock', 'Mock', 'MagicMock', 'AsyncMock', 'mock_open', 'monkeypatch', 'getsource', 'signature', 'reload',
            'globals', 'setitimer', 'tracemalloc', 'getrefcount'}
SUBMISSION = {'solution', 'submission', 'answer', 'candidate', 'program', 'your_module', 'my_module', 'main', 'code', 'task'}


class Refused(Exception):
    pass


def show(v):
    if v is None or isinstance(v, (bool, int, str)):
        return v
    t = type(v)
    if t is float: return {'f': repr(v)}
    if t is complex: return {'c': [repr(v.real), repr(v.imag)]}
    if t in (bytes, bytearray): return {'b': v.hex()}
    if t is list: return [show(x) for x in v]
    if t is tuple: return {'t': [show(x) for x in v]}
    if t in (set, frozenset): return {'s': [show(x) for x in v]}
    if t is dict: return {'d': [[show(k), show(x)] for k, x in v.items()]}
    raise TypeError('not plain')


def literal(node):
    """Is this a value without any name in it?"""
    return all(isinstance(n, (ast.Constant, ast.UnaryOp, ast.BinOp, ast.List, ast.Tuple, ast.Set, ast.Dict, ast.Load, ast.operator,
                              ast.unaryop)) for n in ast.walk(node))


def called_name(call):
    return call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, 'attr', '')


def names_in(nodes):
    return {n.id for node in nodes for n in ast.walk(node) if isinstance(n, ast.Name)}


def idle(node):
    """A statement that says nothing about the submission."""
    if isinstance(node, ast.Assert):
        return isinstance(node.test, ast.Constant) and bool(node.test.value)
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def fails_by_call(call):
    name = called_name(call)
    return 'assert' in name.lower() or name in ('fail', 'raises', 'warns') or name in ('exit', '_exit')


def checks(tree):
    """Could any of this fail because of a wrong value?"""
    return any(isinstance(n, ast.Raise) or (isinstance(n, ast.Assert) and not idle(n)) or
               (isinstance(n, ast.Call) and fails_by_call(n)) for n in ast.walk(tree))


def expects_error(node):
    """try: f(0); assert False; except ValueError: pass. Whatever f does decides."""
    def fails(n):
        return (isinstance(n, ast.Assert) and isinstance(n.test, ast.Constant) and not n.test.value) or \
            (isinstance(n, ast.Expr) and isinstance(n.value, ast.Call) and called_name(n.value) == 'fail')
    caught = [t for h in node.handlers for t in (h.type.elts if isinstance(h.type, ast.Tuple) else [h.type])]
    swallows = any(t is None or ast.unparse(t).split('.')[-1] in ('Exception', 'BaseException', 'AssertionError') for t in caught)
    return any(fails(n) for n in node.body + node.orelse) and bool(caught) and (not swallows or any(fails(n) for n in node.orelse))


class Marker(ast.NodeTransformer):
    """Puts __checked__() before every statement that checks something."""

    def mark(self, node):
        call = ast.Expr(ast.Call(ast.Name('__checked__', ast.Load()), [], []))
        return [ast.copy_location(ast.fix_missing_locations(call), node), node]

    def visit_Assert(self, node):
        return node if idle(node) else self.mark(node)

    def visit_Expr(self, node):
        return self.mark(node) if any(isinstance(n, ast.Call) and fails_by_call(n) for n in ast.walk(node)) else node

    def compound(self, node):
        raising = any(isinstance(n, ast.Raise) or (isinstance(n, ast.Call) and called_name(n) in ('exit', '_exit'))
                      for n in ast.walk(node))
        items = [i.context_expr for i in getattr(node, 'items', [])]
        self.generic_visit(node)
        return self.mark(node) if raising or any(checks(ast.Expr(i)) for i in items) else node

    visit_If = visit_While = visit_With = visit_AsyncWith = compound

    def visit_Try(self, node):
        expects = expects_error(node)
        out = self.compound(node)
        return self.mark(node) if expects and out is node else out


def is_main_guard(node):
    return isinstance(node, ast.If) and isinstance(node.test, ast.Compare) and len(node.test.ops) == 1 \
        and isinstance(node.test.ops[0], ast.Eq) and '__name__' in names_in([node.test])


def is_case(node, classes):
    return any(ast.unparse(b).split('.')[-1].endswith('TestCase') or ast.unparse(b) in classes for b in node.bases)


def needed(function, method=False):
    """Arguments that a caller has to give."""
    a = function.args
    positional = [x.arg for x in a.posonlyargs + a.args]
    return positional[method:len(positional) - len(a.defaults)] + \
        [x.arg for x, d in zip(a.kwonlyargs, a.kw_defaults) if d is None]


def parameters(function):
    """Names that @pytest.mark.parametrize gives."""
    names = set()
    for d in function.decorator_list:
        if isinstance(d, ast.Call) and called_name(d) == 'parametrize' and d.args:
            first = ast.literal_eval(d.args[0])
            names.update(n.strip() for n in (first.split(',') if isinstance(first, str) else first))
    return names


class Row:
    def __init__(self, job):
        self.entry = job['entry'] or ''
        self.sources = job['sources']
        self.setup, self.prompt, self.reference = job['setup'], job['prompt'], job['reference']
        self.units, self.values = [], []
        self.strong, self.total, self.never = True, 0, False
        self.modules, self.together, self.capture, self.checking, self.packages = [], False, False, False, False
        self.called = set()  # names of classes, by their looks, that the tests call
        self.given = self.given_text()
        self.own, self.classes = self.reference_names()
        self.scope = {'__name__': 'tests', '__builtins__': builtins}
        for text in (self.given, self.setup):
            self.try_run(text)

    def try_run(self, text):
        try:
            exec(compile(text, 'tests', 'exec'), self.scope)
        except BaseException:
            pass  # it may need the submission; then what depends on it is no plain value

    def given_text(self):
        """What the prompt gives besides the function to write, and what the reference imports."""
        kept = []
        for text, whole in ((self.prompt, True), (self.reference, False)):
            try:
                tree = ast.parse(text)
            except (SyntaxError, ValueError):
                continue
            for node in tree.body:
                if isinstance(node, (ast.Import, ast.ImportFrom)) and self.installed(node):
                    kept.append(node)
                elif whole and isinstance(node, FUNCTIONS + (ast.ClassDef, ast.Assign)) and \
                        getattr(node, 'name', '') not in (self.entry, 'Solution'):
                    kept.append(node)
        return ast.unparse(ast.Module(kept, []))

    def installed(self, node):
        found = [importlib.util.find_spec(m.split('.')[0]) for m in modules_of(node)]
        self.packages |= any(f is not None and m.split('.')[0] not in sys.stdlib_module_names
                             for m, f in zip(modules_of(node), found))
        return all(found)

    def about_classes(self):
        """Are classes of the submission what is tested?"""
        if self.classes:
            return self.classes != ['(none)']
        return any(n.lstrip('_')[:1].isupper() for n in self.called - set(self.scope) - set(dir(builtins)))

    def always_called(self):
        """`sum` in asserts that are all `sum(10, 15) == 6`: nobody tests Python's own function."""
        calls = set()
        for source in self.sources:
            try:
                nodes = ast.parse(source).body
            except (SyntaxError, ValueError):
                return set()
            for node in nodes:
                left = node.test.left if isinstance(node, ast.Assert) and isinstance(node.test, ast.Compare) else None
                if not (isinstance(left, ast.Call) and isinstance(left.func, ast.Name) and all(literal(a) for a in left.args)):
                    return set()
                calls.add(left.func.id)
        return {name for name in calls if hasattr(builtins, name)} if len(calls) == 1 else set()

    def reference_names(self):
        """Names that are the submission's although Python has them too; and those that are classes, None when unknown."""
        own = {self.entry} - {''}
        try:
            body = ast.parse(self.reference).body
        except (SyntaxError, ValueError):
            body = []
        if not body:
            return own | self.always_called(), []
        given = {getattr(n, 'name', '') for n in ast.parse(self.given).body}
        defined = [n for n in body if isinstance(n, FUNCTIONS + (ast.ClassDef,)) and n.name not in given]
        own |= {n.name for n in defined}
        return own, [n.name for n in defined if isinstance(n, ast.ClassDef)] or ['(none)']

    # Tests as calls and values.

    def value_test(self, node):
        """The call and the value of `assert f(literals) == value`, or nothing."""
        test = node.test
        if not (isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq)):
            return None
        for call, other in ((test.left, test.comparators[0]), (test.comparators[0], test.left)):
            if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in self.callees):
                continue
            if not all(literal(a) for a in call.args) or not all(k.arg and literal(k.value) for k in call.keywords):
                continue
            if names_in([other]) & self.callees:
                continue
            try:
                expected = show(eval(compile(ast.Expression(other), 'expected', 'eval'), self.scope))
            except BaseException:
                continue
            return {'call': ast.unparse(call), 'expected': json.dumps(expected)}
        return None

    # Tests as units.

    def unit(self, kind, text, count=1):
        if kind == 'define' and self.units and self.units[-1][0] == 'define':
            self.units[-1][1] += '\n' + text
        else:
            self.units.append([kind, text])
        self.total += count if kind != 'define' else 0

    def text(self, *nodes):
        return ast.unparse(ast.Module([n for node in nodes for n in as_list(Marker().visit(node))], []))

    def read(self):
        for source in self.sources:
            if source.lstrip().startswith('>>>'):
                self.strong, self.checking = False, True
                self.unit('examples', source, source.count('>>>'))
                continue
            try:
                tree = ast.parse(source)
            except (SyntaxError, ValueError) as error:
                raise Refused('the tests are no valid Python: %s' % error)
            self.survey(tree)
            self.read_tree(tree)
        if not self.checking:
            raise Refused('the tests check nothing: no assert, no assertion method, no raise')
        if not self.units and not self.values:
            raise Refused('the tests check nothing')
        if self.strong and not self.together:
            return {'values': self.values, 'packages': self.packages}
        return {'units': self.units, 'total': max(self.total, 1), 'together': self.together, 'captures': self.capture,
                'given': self.given, 'own': sorted(self.own), 'classes': self.classes, 'modules': sorted(set(self.modules)),
                'weak': self.together or self.never, 'keeps_classes': self.about_classes(),
                'packages': self.packages}

    def survey(self, tree):
        """What the tests need, as a whole."""
        self.checking |= checks(tree)
        for n in ast.walk(tree):
            if isinstance(n, ast.Call) and isinstance(n.func, ast.Name):
                self.called.add(n.func.id)
            if isinstance(n, ast.Call) and called_name(n) in ('testmod', 'testfile', 'run_docstring_examples'):
                raise Refused('doctest.%s() runs the examples of the submission itself' % called_name(n))
            if isinstance(n, ast.Assert) and isinstance(n.test, ast.Tuple) and n.test.elts:
                self.never = True
            if isinstance(n, ast.Attribute) and ast.unparse(n.value) == 'pytest' and n.attr not in PYTEST:
                raise Refused('pytest.%s is not known here' % n.attr)
            if isinstance(n, ast.Attribute) and ast.unparse(n.value) == 'pytest.mark' and n.attr in ('skip', 'skipif', 'xfail'):
                raise Refused('pytest.mark.%s is not known here' % n.attr)
            name = n.id if isinstance(n, ast.Name) else n.attr if isinstance(n, ast.Attribute) else \
                n.arg if isinstance(n, ast.arg) else ''
            self.together |= name in TOGETHER
            if isinstance(n, (ast.Assign, ast.AugAssign)) and any('sys.stdin' in ast.unparse(t) for t in
                                                                 getattr(n, 'targets', [getattr(n, 'target', None)])):
                self.together = True
            self.capture |= name in ('stdout', 'redirect_stdout', 'capsys')
            if isinstance(n, (ast.Import, ast.ImportFrom)):
                self.imports(n)
            if isinstance(n, ast.ClassDef) and not is_case(n, ()) and any(
                    b.id not in dir(builtins) for b in n.bases if isinstance(b, ast.Name)):
                self.subclasses(n, tree)

    def subclasses(self, node, tree):
        """A class of the tests that derives from one of the submission lives in its process."""
        known = {n.name for n in ast.walk(tree) if isinstance(n, ast.ClassDef)}
        for n in ast.walk(tree):
            if isinstance(n, (ast.Import, ast.ImportFrom)) and not set(modules_of(n)) & set(self.modules):
                known.update((a.asname or a.name).split('.')[0] for a in n.names)
        known.update(n for n in self.scope)
        if any(isinstance(b, ast.Name) and b.id not in known and not hasattr(builtins, b.id) for b in node.bases):
            self.together = True

    def imports(self, node):
        for name in modules_of(node):
            top = name.split('.')[0]
            if top in ('pytest', '__future__'):
                continue
            if top in SUBMISSION and not (top in sys.stdlib_module_names):
                self.modules.append(name)
            elif top == 'unittest' and 'mock' in name:
                self.together = True
            elif importlib.util.find_spec(top) is None:
                if isinstance(node, ast.ImportFrom) and {a.name for a in node.names} & (self.own | {'*'}):
                    self.modules.append(name)
                else:
                    raise Refused('the tests import %s, which is not installed here' % name)
            elif top not in sys.stdlib_module_names:
                self.packages = True
                self.together |= top != 'numpy'

    def starts_framework(self, node):
        call = node.value if isinstance(node, ast.Expr) else None
        while isinstance(call, ast.Call) and called_name(call) in ('exit', 'SystemExit') and call.args:
            call = call.args[0]
        if not isinstance(call, ast.Call):
            return False
        name = ast.unparse(call.func)
        return name in ('unittest.main', 'pytest.main') or (name == 'main' and name not in self.defined)

    def flat(self, body):
        """Main guards count as taken, and whoever runs the tests is us."""
        out = []
        for node in body:
            if is_main_guard(node):
                out += self.flat(node.body)
            elif not self.starts_framework(node):
                out.append(node)
        return out

    def read_tree(self, tree):
        self.defined = {n.name for n in tree.body if isinstance(n, FUNCTIONS + (ast.ClassDef,))}
        self.callees = {self.entry, 'candidate'} - {''} - self.defined
        definitions = [n for n in tree.body if isinstance(n, FUNCTIONS + (ast.ClassDef,))]
        self.checking_names = {n.name for n in definitions if checks(n)}
        for _ in definitions:  # those that call them check too
            self.checking_names |= {n.name for n in definitions if names_in([n]) & self.checking_names}
        body = self.flat(tree.body)
        check = next((n for n in body if isinstance(n, FUNCTIONS) and n.name == 'check'), None)
        others = [n for n in body if n is not check]
        calls_check = check is not None and 'check' in names_in(others)
        if check is not None and not calls_check and self.plain_body(check):
            argument = needed(check)[0] if needed(check) else ''
            self.try_run(ast.unparse(ast.Module(others, [])))
            self.callees |= {argument} - {''}
            for node in others:
                self.statement(node, True)
            if argument and argument != 'candidate':
                self.unit('define', '%s = candidate' % argument)
            for node in check.body:
                self.statement(node, argument in ('', 'candidate'))
            return
        for node in body:
            self.statement(node, True)
        self.drivers(body)

    def plain_body(self, check):
        wants = needed(check)
        return isinstance(check, ast.FunctionDef) and len(wants) <= 1 and not check.decorator_list and \
            all(isinstance(n, (ast.Assert, ast.Pass, ast.Assign, ast.Import, ast.ImportFrom)) or
                (isinstance(n, ast.Expr) and isinstance(n.value, (ast.Constant, ast.Call))) for n in check.body)

    def statement(self, node, strong):
        if idle(node):
            return
        if isinstance(node, ast.Assert):
            test = self.value_test(node) if strong else None
            if test is None:
                self.strong = False
            else:
                self.values.append(test)
            self.unit('body', self.text(node))
            return
        definition = isinstance(node, FUNCTIONS + (ast.ClassDef, ast.Import, ast.ImportFrom))
        tells = not definition and (checks(node) or bool(names_in([node]) & self.checking_names))
        if not definition and (names_in([node]) & (self.callees | self.own) or tells):
            self.strong = False
        if tells:
            self.unit('body', self.text(node))
        else:
            self.try_run(ast.unparse(node)) if definition or self.strong else None
            self.unit('define', self.text(node))

    def drivers(self, body):
        """What a framework would call of what `body` only defines."""
        classes = set()
        used = names_in(n for n in body if not isinstance(n, FUNCTIONS))
        fixtures = {n.name for n in body if isinstance(n, FUNCTIONS) and any('fixture' in ast.unparse(d) for d in n.decorator_list)}
        for node in body:
            if isinstance(node, ast.ClassDef):
                methods = [n for n in node.body if isinstance(n, FUNCTIONS) and n.name.startswith('test')]
                if is_case(node, classes):
                    classes.add(node.name)
                    if methods:
                        self.driver('case', node.name, len(methods))
                elif node.name.startswith('Test') and methods:
                    for method in methods:
                        self.arguments(method, fixtures, True)
                    self.driver('group', node.name, len(methods))
            if not isinstance(node, FUNCTIONS) or node.name in fixtures:
                continue
            wants = needed(node)
            if node.name.startswith('test') and node.name not in used:
                if wants == ['candidate'] and not parameters(node):
                    self.driver('check_function', node.name)
                else:
                    self.arguments(node, fixtures, False)
                    self.driver('function', node.name)
            elif checks(node) and node.name not in names_in(n for n in body if n is not node):
                if len(wants) == 1 and (wants[0] in ('candidate', self.entry) or node.name.startswith('check')):
                    self.driver('check_function', node.name)
                elif isinstance(node, ast.FunctionDef) and node.name == 'check' and not wants:
                    self.driver('function', node.name)
                else:
                    raise Refused('the checks of %s() are never run: nothing calls it' % node.name)

    def driver(self, kind, name, count=1):
        self.strong = False
        self.unit(kind, name, count)

    def arguments(self, function, fixtures, method):
        known = parameters(function) | fixtures | set(FIXTURES)
        for name in needed(function, method):
            if name not in known:
                if name in TOGETHER:
                    raise Refused('the fixture %s of pytest is not known here' % name)
                raise Refused('test function %s() wants the argument %s, which nothing gives' % (function.name, name))


def as_list(nodes):
    return nodes if isinstance(nodes, list) else [nodes]


def modules_of(node):
    return [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module] if node.module and not node.level else []


def answer(job):
    try:
        return Row(job).read()
    except Refused as error:
        return {'refused': str(error)}
    except RecursionError:
        return {'refused': 'the tests are nested too deeply'}


def main():
    jobs = json.loads(sys.stdin.buffer.read())
    if hasattr(sys, 'set_int_max_str_digits'):
        sys.set_int_max_str_digits(0)
    sys.path += jobs['packages']

    def say(number, found):
        data = ('%s %d %s\n' % (jobs['nonce'], number, json.dumps(found))).encode()
        while data:
            data = data[os.write(3, data):]
    # A process each: tests run code of their own while they are read.
    for number, job in enumerate(jobs['rows']):
        pid = os.fork()
        if pid == 0:
            signal.setitimer(signal.ITIMER_REAL, jobs['seconds'])
            sys.stdout = open(os.devnull, 'w')
            say(number, answer(job))
            os._exit(0)
        status = os.waitpid(pid, 0)[1]
        if status != 0:
            how = 'take too long to read' if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM else \
                'end the process that reads them'
            say(number, {'refused': 'the tests ' + how})


main()
