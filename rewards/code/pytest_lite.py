# What tests use of pytest, for tests that import it; the package itself is not needed. rewriter.py refuses rows that use more.


class Skipped(BaseException):
    pass


class Raises:
    def __init__(self, expected, match):
        self.expected, self.pattern, self.value, self.type = expected, match, None, None

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if kind is None:
            raise AssertionError('did not raise %r' % (self.expected,))
        if not issubclass(kind, self.expected):
            return False
        self.type, self.value = kind, error
        if self.pattern is not None:
            self.match(self.pattern)
        return True

    def match(self, pattern):
        if not module('re').search(pattern, str(self.value)):
            raise AssertionError('%r does not match %r' % (str(self.value), pattern))
        return True


def raises(expected, *rest, match=None, **named):
    if not rest:
        return Raises(expected, match)
    with Raises(expected, match) as info:
        rest[0](*rest[1:], **named)
    return info


class Warns:
    def __init__(self, expected, match):
        self.expected, self.pattern = expected, match

    def __enter__(self):
        warnings = module('warnings')
        self.catcher = warnings.catch_warnings(record=True)
        self.list = self.catcher.__enter__()
        warnings.simplefilter('always')
        return self.list

    def __exit__(self, kind, error, trace):
        self.catcher.__exit__(kind, error, trace)
        if kind is None and not any(issubclass(w.category, self.expected) for w in self.list):
            raise AssertionError('no such warning')


class Approx:
    """Equal within rel and abs, through lists, tuples and dicts."""

    def __init__(self, expected, rel=None, abs=None, nan_ok=False):
        self.expected, self.rel, self.abs, self.nan_ok = expected, rel, abs, nan_ok

    def __eq__(self, other):
        return self.near(self.expected, other)

    def __ne__(self, other):
        return not self == other

    __hash__ = None

    def near(self, expected, got):
        if isinstance(expected, dict):
            return isinstance(got, dict) and expected.keys() == got.keys() and \
                all(self.near(expected[k], got[k]) for k in expected)
        if isinstance(expected, (list, tuple)):
            return type(got) in (list, tuple) and len(got) == len(expected) and all(map(self.near, expected, got))
        if type(expected).__name__ == 'ndarray':
            return self.near(expected.tolist(), got.tolist() if hasattr(got, 'tolist') else got)
        if isinstance(expected, (bool, str, type(None))) or isinstance(got, (bool, str, type(None), Remote)):
            return expected == got
        try:
            if expected != expected or got != got:
                return self.nan_ok and expected != expected and got != got
            if expected == got:
                return True
            near = builtins.abs(got - expected)
            relative = (1e-6 if self.rel is None else self.rel) * builtins.abs(expected)
            absolute = 1e-12 if self.abs is None else self.abs
            if self.abs is not None and self.rel is None:
                relative = 0
            return near <= max(relative, absolute) and builtins.abs(expected) != INFINITE
        except TypeError:
            return False

    def __repr__(self):
        return 'approx(%r)' % (self.expected,)


class Parameters(tuple):
    pass


def param(*values, id=None, marks=()):
    return Parameters(values)


def parametrize(names, values, ids=None, **more):
    names = [n.strip() for n in names.split(',')] if isinstance(names, str) else list(names)

    def mark(function):
        sets = []
        for value in values:
            row = tuple(value) if isinstance(value, Parameters) or len(names) > 1 else (value,)
            if len(row) != len(names):
                raise ValueError('parametrize: %d names, %d values' % (len(names), len(row)))
            sets.append(dict(zip(names, row)))
        function.parameter_sets = [dict(a, **b) for a in getattr(function, 'parameter_sets', [{}]) for b in sets]
        return function
    return mark


class Marks:
    parametrize = staticmethod(parametrize)

    def __getattr__(self, name):
        def mark(*args, **named):
            if len(args) == 1 and not named and callable(args[0]):
                return args[0]
            return lambda function: function
        if name in ('skip', 'skipif', 'xfail'):
            raise AttributeError('pytest.mark.' + name)
        return mark


def fixture(function=None, **more):
    if function is None:
        return lambda f: fixture(f, **more)
    function.is_fixture = True
    return function


def fail(reason='', pytrace=True):
    raise AssertionError(reason or 'failed')


def skip(reason='', **more):
    raise Skipped(reason)


class Captured:
    """capsys: what was printed since the last look."""

    def __init__(self):
        io = module('io')
        self.old = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = self.both = io.StringIO(), io.StringIO()

    def readouterr(self):
        texts = [s.getvalue() for s in self.both]
        for s in self.both:
            s.seek(0)
            s.truncate(0)
        return module('collections').namedtuple('CaptureResult', 'out err')(*texts)

    def close(self):
        sys.stdout, sys.stderr = self.old


def parameter_sets(function):
    return getattr(function, 'parameter_sets', [{}])


def call_with_fixtures(function, values, scope):
    """Calls a test with its parameters and the fixtures that its other arguments name."""
    ends, made = [], {}

    def value_of(name):
        if name in values:
            return values[name]
        if name not in made:
            made[name] = make(name)
        return made[name]

    def make(name):
        own = scope[name] if name in scope else None
        if getattr(own, 'is_fixture', False):
            thing = own(**{n: value_of(n) for n in arguments_of(own)})
            if type(thing).__name__ == 'generator':
                ends.append(lambda: next(thing, None))
                return next(thing)
            return thing
        if name == 'capsys':
            captured = Captured()
            ends.append(captured.close)
            return captured
        if name == 'tmp_path':
            return module('pathlib').Path(module('tempfile').mkdtemp())
        raise LookupError('no fixture ' + name)
    try:
        result = function(**{n: value_of(n) for n in arguments_of(function)})
        if type(result).__name__ == 'coroutine':
            module('asyncio').run(result)
    finally:
        for end in reversed(ends):
            end()


def arguments_of(function):
    code = getattr(function, '__code__', None) or getattr(getattr(function, '__func__', None), '__code__', None)
    if code is None:
        return []
    names = code.co_varnames[:code.co_argcount]
    names = names[1:] if hasattr(function, '__self__') else names
    defaults = getattr(function, '__defaults__', None) or ()
    return names[:len(names) - len(defaults)] + code.co_varnames[code.co_argcount:code.co_argcount + code.co_kwonlyargcount]


def install_pytest():
    fake = type(sys)('pytest')
    fake.__dict__.update(raises=raises, warns=lambda expected=Warning, match=None: Warns(expected, match), approx=Approx,
                         param=param, mark=Marks(), fixture=fixture, fail=fail, skip=skip,
                         importorskip=lambda name, **more: module(name), main=lambda *a, **k: 0)
    sys.modules['pytest'] = fake
