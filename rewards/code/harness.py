# Runs tests that are Python: asserts, test functions, unittest classes, check(candidate), doctest examples. rewriter.py has
# taken them apart into units and has put a call of __checked__() before every statement that checks something. They run in
# the process that judges, where names of the submission stand for handles (peer.py); rows whose tests reach into the
# submission's process (mocks and the like) run there, and are weak.

ALIASES = {'np': 'numpy', 'pd': 'pandas', 'plt': 'matplotlib.pyplot'}
TESTS = '__tests__'


class Scope(dict):
    """Names of the tests. What they do not define is Python's own, else the submission's."""

    def __init__(self, find, first):
        dict.__init__(self, __name__=TESTS, __builtins__=builtins)
        self.find, self.first = find, first

    def __missing__(self, name):
        if name in self.first:
            value = self.find(name)
        elif name[:2] == '__' or hasattr(builtins, name):
            raise KeyError(name)
        elif name in sys.stdlib_module_names or name in ALIASES:
            value = module(ALIASES.get(name, name))
        else:
            value = self.find(name)
        if type(value) is Remote or isinstance(value, type(sys)):
            self[name] = value
        return value


class Units:
    """Runs the units and says of each whether it passed."""

    def __init__(self, tests, scope, report):
        self.tests, self.scope, self.report = tests, scope, report
        self.checked = 0
        self.count = 0
        scope['__checked__'] = self.check

    def check(self):
        self.checked += 1

    def unit(self, run):
        number, self.count = self.count, self.count + 1
        try:
            run()
            self.report(number, '')
        except Ended:
            raise
        except BaseException as error:
            self.report(number, error_name(error) + ': ' + said(error))

    def run(self):
        for i, (kind, text) in enumerate(self.tests['units']):
            getattr(self, kind)(text)

    def body(self, text):
        self.unit(lambda: exec(compile(text, 'tests.py', 'exec', 0, True), self.scope))

    def define(self, text):
        """Definitions that the units after this one need: no unit unless they fail."""
        try:
            exec(compile(text, 'tests.py', 'exec', 0, True), self.scope)
        except Ended:
            raise
        except BaseException as error:
            def again(error=error):
                raise error
            self.unit(again)

    def check_function(self, name):
        self.unit(lambda: self.scope[name](self.scope['candidate']))

    def function(self, name):
        self.tests_of(self.scope[name])

    def tests_of(self, function):
        for values in parameter_sets(function):
            self.unit(lambda values=values: call_with_fixtures(function, values, self.scope))

    def group(self, name):
        """A class of test methods as pytest takes them."""
        kind = self.scope[name]
        for method in [n for n in kind.__dict__ if n.startswith('test')]:
            def one(method=method, **values):
                thing = kind()
                for setup in ('setup_method', 'setup'):
                    if hasattr(thing, setup):
                        call_some(getattr(thing, setup), getattr(thing, method))
                        break
                call_with_fixtures(getattr(thing, method), values, self.scope)
            function = kind.__dict__[method]
            for values in parameter_sets(function):
                self.unit(lambda one=one, values=values: one(**values))

    def case(self, name):
        unittest = module('unittest')
        units = self

        class Result(unittest.TestResult):
            def startTest(self, test):
                super().startTest(test)
                self.fault = None

            def addError(self, test, error):
                self.fault = error[1]

            def addFailure(self, test, error):
                self.fault = error[1]

            def addSkip(self, test, reason):
                self.fault = AssertionError('skipped')

            def addExpectedFailure(self, test, error):
                pass

            def addUnexpectedSuccess(self, test):
                self.fault = AssertionError('unexpected success')

            def addSubTest(self, test, sub, error):
                if error is not None:
                    self.fault = error[1]

            def stopTest(self, test):
                fault = self.fault

                def outcome():
                    if fault is not None:
                        raise fault
                units.unit(outcome)

        result = Result()
        suite = unittest.defaultTestLoader.loadTestsFromTestCase(self.scope[name])
        result.fault = None
        suite.run(result)
        if result.testsRun == 0 and result.fault is not None:
            units.unit(lambda fault=result.fault: (_ for _ in ()).throw(fault))

    def examples(self, text):
        doctest = module('doctest')
        for number, example in enumerate(doctest.DocTestParser().get_examples(text)):
            def one(example=example):
                io = module('io')
                shown, old = io.StringIO(), sys.stdout
                sys.stdout = shown
                try:
                    exec(compile(example.source, 'tests.py', 'single', 0, True), self.scope)
                    got = shown.getvalue()
                except Exception as error:
                    got = 'Traceback (most recent call last):\n%s: %s\n' % (error_name(error), error)
                    if example.exc_msg is not None:
                        got = got if '%s: %s\n' % (error_name(error), error) != example.exc_msg else example.want
                finally:
                    sys.stdout = old
                flags = 0
                for flag, on in example.options.items():
                    flags |= flag if on else 0
                if example.exc_msg is not None and got == example.want:
                    return
                if not doctest.OutputChecker().check_output(example.want, got, flags):
                    raise AssertionError('expected %r, got %r' % (example.want[:60], got[:60]))
            if example.want or example.exc_msg:
                self.check()
            self.unit(one)


def said(error):
    try:
        text = str(error)
    except Exception:
        text = ''
    return ''.join(c if ' ' <= c < '\x7f' else ' ' for c in text[:160])


def call_some(function, argument):
    """setup_method may take the method or nothing."""
    code = getattr(function, '__code__', None)
    function(argument) if code is not None and code.co_argcount > 1 else function()


def serve_judge(job, inward, outward):
    """In the process of the submission."""
    peer = Peer(inward, outward, False)
    try:
        submission = Submission(job)
    except BaseException as error:
        send(outward, '!' + error_name(error))
        return
    send(outward, '')
    if job['keeps_classes']:
        peer.keep_class = lambda t: getattr(t, '__module__', '') == 'solution'
    if job['captures']:
        printed = module('io').TextIOWrapper(module('io').BytesIO(), 'utf-8', 'replace', write_through=True)
        sys.stdout = printed

        def take():
            text = printed.buffer.getvalue().decode('utf-8', 'replace')
            printed.seek(0)
            printed.truncate(0)
            return text
        peer.capture = take
    OPERATIONS.update(find=submission.find, together=lambda tests: run_together(submission, tests))
    try:
        while True:
            m = peer.message()
            peer.answer(m)
    except Ended:
        pass


def run_together(submission, tests):
    """Tests beside the submission. It could answer for them; the verdict is called weak."""
    scope = dict(submission.scope)
    scope['__name__'] = TESTS
    entry = submission.entry
    results = []
    try:
        scope['candidate'] = submission.find(entry)
        if entry.isidentifier():
            scope.setdefault(entry, scope['candidate'])
    except NameError:
        pass
    sys.modules[TESTS] = submission.module
    install_pytest()
    units = Units(tests, scope, lambda number, fault: results.append(fault))
    units.run()
    return [units.checked, results]


def judge_tests(say, job, tests, inward, outward):
    import _signal
    _signal.signal(_signal.SIGINT, _signal.SIG_IGN)  # nobody raises KeyboardInterrupt here
    try:
        loaded = receive(inward)
    except (EOFError, OSError, ValueError):
        return
    if loaded:
        say('program ' + ''.join(c for c in loaded[1:] if c.isidentifier()))
        return
    say('loaded')
    peer = Peer(inward, outward, True)

    def report(number, fault):
        say('%d u %s' % (number, fault or 'ok'))
    try:
        if tests['together']:
            checked, results = peer.ask('together', {'units': tests['units']})
            for number, fault in enumerate(results):
                report(number, ''.join(c for c in str(fault) if ' ' <= c < '\x7f')[:200])
            weak, called = True, 1
        else:
            units = Units(tests, scope_of(peer, job, tests), report)
            install_pytest()
            peer.calls = 0
            units.run()
            checked, weak, called = units.checked, peer.trusted_own, peer.calls
    except Ended:
        return
    if peer.broken:
        return
    if weak:
        say('weak')
    if called == 0:
        say('uncalled')
    elif checked == 0:
        say('unchecked')
    say('done')


def scope_of(peer, job, tests):
    found = {}

    def find(name):
        try:
            value = peer.ask('find', name)
        except NameError:
            if name == job['entry']:
                raise
            raise KeyError(name) from None
        about = tests['classes']
        if type(value) is Remote and value._kind == 'c' and (name in about or (about == [] and name.lstrip('_')[:1].isupper())):
            set_slot(value, '_made', True)
        return value
    first = set(tests['own'])
    scope = Scope(find, first)
    fake = type(sys)('solution')
    fake.__class__ = type('Solution', (type(sys),), {'__getattr__': lambda self, name: ask_attribute(find, name)})
    fake.__all__ = []
    for name in ['solution'] + tests['modules']:
        sys.modules[name] = fake
    peer.open_classes = lambda t: t.__module__ == TESTS or t.__name__ in ('StringIO', 'BytesIO')
    if tests['given']:
        given = Scope(find, first)
        exec(compile(tests['given'], 'given.py', 'exec', 0, True), given)
        for name in given:
            if name not in first and name[:2] != '__':
                scope[name] = given[name]
    if job['setup']:
        exec(compile(job['setup'], 'setup.py', 'exec', 0, True), scope)
    if job['entry']:
        scope['candidate'] = candidate_of(find, job['entry'])
    return scope


def ask_attribute(find, name):
    if name.startswith('__'):
        raise AttributeError(name)
    try:
        return find(name)
    except KeyError:
        raise AttributeError("module 'solution' has no attribute '%s'" % name) from None


def candidate_of(find, entry):
    try:
        return find(entry)
    except (NameError, KeyError):
        def candidate(*args, **named):
            raise NameError("name '%s' is not defined" % entry)
        return candidate
