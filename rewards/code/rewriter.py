# Reads the tests of a data set once, away from any submission. An assert of the form `f(x) == v` becomes the call's source
# and the value of v, so that v never enters the sandbox of a submission. What cannot be taken apart stays a test to be run
# beside the submission, and is marked weak. Tests that a framework would call (test functions, unittest classes, a main
# guard, check(candidate)) are called as it would; what nothing would call, and what checks nothing, is refused by name.
def main():
    import ast, importlib.util, json, os, sys
    job = json.loads(sys.stdin.buffer.read())
    if hasattr(sys, 'set_int_max_str_digits'):
        sys.set_int_max_str_digits(0)
    entry = job.get('entry')
    scope = {'__name__': 'tests'}
    names = {entry, 'candidate'} - {None}
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)

    class Refused(Exception):
        pass

    def show(v):
        if v is None: return None
        if isinstance(v, (bool, int, str)): return v
        if isinstance(v, float): return {'f': repr(v)}
        if isinstance(v, complex): return {'c': [repr(v.real), repr(v.imag)]}
        if isinstance(v, bytes): return {'b': v.hex()}
        if isinstance(v, list): return [show(x) for x in v]
        if isinstance(v, tuple): return {'t': [show(x) for x in v]}
        if isinstance(v, (set, frozenset)): return {'s': [show(x) for x in v]}
        if isinstance(v, dict): return {'d': [[show(k), show(x)] for k, x in v.items()]}
        raise TypeError('not plain')

    def mentions(node):
        return any(isinstance(n, ast.Name) and n.id in names for n in ast.walk(node))

    def value(node):
        return eval(compile(ast.Expression(node), 'expected', 'eval'), scope)

    def rewrite(test):
        if not names:
            return None
        if isinstance(test, ast.Compare) and len(test.ops) == 1:
            left, op, right = test.left, test.ops[0], test.comparators[0]
            if isinstance(op, (ast.Eq, ast.Is)):
                if mentions(right) and not mentions(left):
                    left, right = right, left
                if mentions(left) and not mentions(right):
                    return {'call': ast.unparse(left), 'op': 'eq', 'expected': show(value(right))}
            if isinstance(op, (ast.Lt, ast.LtE)) and isinstance(left, ast.Call) and getattr(left.func, 'id', '') == 'abs' \
                    and isinstance(left.args[0], ast.BinOp) and isinstance(left.args[0].op, ast.Sub) and not mentions(right):
                a, b = left.args[0].left, left.args[0].right
                if mentions(b) and not mentions(a):
                    a, b = b, a
                if mentions(a) and not mentions(b):
                    return {'call': ast.unparse(a), 'op': 'close', 'expected': show(value(b)), 'tolerance': float(value(right))}
        if isinstance(test, ast.Call) and ast.unparse(test.func) in ('math.isclose', 'isclose') and len(test.args) == 2:
            a, b = test.args
            keywords = {k.arg: value(k.value) for k in test.keywords}
            if mentions(a) and not mentions(b):
                expected = value(b)
                tolerance = max(keywords.get('abs_tol', 0.0), keywords.get('rel_tol', 1e-9) * abs(expected))
                return {'call': ast.unparse(a), 'op': 'close', 'expected': show(expected), 'tolerance': tolerance * (1 + 1e-12) + 5e-324}
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not) and mentions(test.operand):
            return {'call': ast.unparse(test.operand), 'op': 'falsy'}
        if isinstance(test, ast.Call) and mentions(test):
            return {'call': ast.unparse(test), 'op': 'truthy'}
        return None

    tests = []

    def idle(node):  # a statement that says nothing about the submission
        if isinstance(node, ast.Assert):
            return isinstance(node.test, ast.Constant) and bool(node.test.value)
        return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))

    def take(node, source):
        if idle(node):
            return
        try:
            test = rewrite(node.test)
        except BaseException:
            test = None
        tests.append(test if test is not None else {'weak': source})

    def called_name(call):
        return call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, 'attr', '')

    def checks(tree):  # could any of this fail because of a wrong value?
        for n in ast.walk(tree):
            if isinstance(n, ast.Raise) or (isinstance(n, ast.Assert) and not idle(n)):
                return True
            if isinstance(n, ast.Call) and ('assert' in called_name(n).lower() or called_name(n) in ('fail', 'raises')):
                return True
        return False

    def is_main_guard(node):
        return isinstance(node, ast.If) and isinstance(node.test, ast.Compare) and len(node.test.ops) == 1 \
            and isinstance(node.test.ops[0], ast.Eq) and any(isinstance(n, ast.Name) and n.id == '__name__'
                                                             for n in ast.walk(node.test))

    def starts_framework(node):
        call = node.value if isinstance(node, ast.Expr) else None
        while isinstance(call, ast.Call) and called_name(call) in ('exit', 'SystemExit') and call.args:
            call = call.args[0]
        return isinstance(call, ast.Call) and ast.unparse(call.func) in ('unittest.main', 'pytest.main', 'main') and \
            ast.unparse(call.func) not in defined

    def needed(function):  # arguments that a caller has to give
        a = function.args
        positional = [x.arg for x in a.posonlyargs + a.args]
        return positional[:len(positional) - len(a.defaults)] + \
            [x.arg for x, d in zip(a.kwonlyargs, a.kw_defaults) if d is None]

    def flat(body):  # main guards count as taken, and whoever runs the tests is us
        out = []
        for node in body:
            if is_main_guard(node):
                out += flat(node.body)
            elif not starts_framework(node):
                out.append(node)
        return out

    def is_case(node, classes):
        bases = [ast.unparse(b) for b in node.bases]
        return any(b.split('.')[-1].endswith('TestCase') or b in classes for b in bases)

    def load_names(nodes):
        return {n.id for node in nodes for n in ast.walk(node) if isinstance(n, ast.Name)}

    def drivers(body):
        """Calls that a framework would make of what `body` only defines."""
        made, classes = [], set()
        used = load_names(n for n in body if not isinstance(n, functions))
        for node in body:
            if isinstance(node, ast.ClassDef):
                if is_case(node, classes):
                    classes.add(node.name)
                    made.append('_run_case(%s)\n' % node.name)
                elif node.name.startswith('Test') and any(isinstance(n, functions) and n.name.startswith('test')
                                                          for n in node.body):
                    made += ['%s().%s()\n' % (node.name, n.name) for n in node.body
                             if isinstance(n, functions) and n.name.startswith('test')]
            if not isinstance(node, functions) or not checks(node):
                continue
            others = load_names(n for n in body if n is not node)
            wants = needed(node)
            if node.decorator_list:
                raise Refused('the decorator of %s() is not known here' % node.name)
            if node.name.startswith('test') and node.name not in used:
                if wants not in ([], ['candidate']):
                    raise Refused('test function %s() wants the argument %s' % (node.name, wants[0]))
                call = '%s(%s)' % (node.name, 'candidate' if wants else '')
                made.append(('import asyncio\nasyncio.run(%s)\n' if isinstance(node, ast.AsyncFunctionDef) else '%s\n') % call)
            elif node.name not in others:
                if len(wants) == 1 and entry and (wants[0] in ('candidate', entry) or node.name.startswith('check')):
                    made.append('%s(candidate)\n' % node.name)
                else:
                    raise Refused('the checks of %s() are never run: nothing calls it' % node.name)
        return made

    run_case = '''
def _run_case(case):
    import unittest
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(case).run(result)
    for test, trace in result.errors + result.failures:
        raise AssertionError(trace.strip().splitlines()[-1])
    if result.testsRun == 0 or len(result.skipped) == result.testsRun or result.unexpectedSuccesses:
        raise AssertionError('no test was run')
'''

    setup = job.get('setup') or ''
    try:
        exec(compile(setup, 'setup', 'exec'), scope)
    except BaseException:
        pass  # it may need the submission; what depends on it becomes weak

    def read(source):
        try:
            tree = ast.parse(source)
        except SyntaxError as error:
            raise Refused('the tests are no valid Python: %s' % error)
        for n in ast.walk(tree):
            if isinstance(n, ast.Call) and called_name(n) in ('testmod', 'testfile', 'run_docstring_examples'):
                raise Refused('doctest.%s() runs the examples of the submission itself' % called_name(n))
        nonlocal defined
        defined = {n.name for n in tree.body if isinstance(n, functions + (ast.ClassDef,))}
        body = flat(tree.body)
        checking[0] |= checks(tree)
        for n in ast.walk(tree):
            modules = [a.name for a in n.names] if isinstance(n, ast.Import) else \
                [n.module] if isinstance(n, ast.ImportFrom) and n.module and not n.level else []
            for module in modules:
                if module != 'solution' and importlib.util.find_spec(module.split('.')[0]) is None:
                    raise Refused('the tests import %s, which is not installed here' % module)
        check = next((n for n in body if isinstance(n, ast.FunctionDef) and n.name == 'check'), None)
        if check is None:
            if all(isinstance(n, ast.Assert) or idle(n) for n in body):
                for node in body:
                    if isinstance(node, ast.Assert):
                        take(node, ast.unparse(node))
                return
            made = drivers(body)
            text = ast.unparse(ast.Module(body, [])) + '\n' + ''.join(made)
            tests.append({'weak': (run_case if '_run_case(' in text else '') + text})
            return
        others = [n for n in body if n is not check]
        argument = check.args.args[0].arg if check.args.args else 'candidate'
        names.add(argument)
        try:
            exec(compile(ast.Module(others, []), 'tests', 'exec'), scope)
        except BaseException:
            pass
        simple = argument == 'candidate' and all(
            isinstance(n, (ast.Assert, ast.Pass)) or (isinstance(n, ast.Expr) and isinstance(n.value, (ast.Constant, ast.Call))
                                                     and not mentions(n)) for n in check.body)
        if not simple:
            tests.append({'weak': ast.unparse(ast.Module(body, [])) + '\ncheck(candidate)\n'})
            return
        prefix = ''.join(ast.unparse(n) + '\n' for n in others)
        for node in check.body:
            if isinstance(node, ast.Assert):
                take(node, prefix + ast.unparse(node))

    defined, checking = set(), [False]
    try:
        for source in job['sources']:
            read(source)
        if not tests or not checking[0]:
            raise Refused('the tests check nothing: no assert, no assertion method, no raise')
        text = json.dumps(tests)
    except Refused as error:
        text = json.dumps({'refused': str(error)})
    data = (job['nonce'] + ' ' + text + '\n').encode()
    while data:
        data = data[os.write(3, data):]


main()
