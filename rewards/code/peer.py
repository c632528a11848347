# Two processes that call each other over plain values (wire.py). What is no plain value crosses as a handle; operations on it
# are messages to the process that owns it. The judge's side has rules: objects of the submission never equal a plain value,
# and only objects of classes that the tests are about may answer for themselves, which makes the verdict weak.

BINARY = ('add', 'sub', 'mul', 'matmul', 'truediv', 'floordiv', 'mod', 'pow', 'lshift', 'rshift', 'and_', 'or_', 'xor')
ORDER = ('lt', 'le', 'gt', 'ge')
UNARY = ('neg', 'pos', 'abs', 'invert')
# Methods by which a builtin value says true or false of itself. A foreign object with such a method would pose as one.
PREDICATES = frozenset(
    n for t in (str, bytes, int, float, list, tuple, dict, set) for n in dir(t)
    if n[0] != '_' and (n.startswith('is') or n in ('startswith', 'endswith')))


class Remote:
    """Stands for an object of the other process."""
    __slots__ = ('_id', '_peer', '_kind', '_made')

    def __init__(self, peer, number, kind):
        set_slot(self, '_id', number)
        set_slot(self, '_peer', peer)
        set_slot(self, '_kind', kind)    # as the owner says: f function, c class, m module, g iterator, k awaitable, o other
        set_slot(self, '_made', False)   # the tests made it, by calling a class that they are about

    def _ask(self, op, *rest):
        return self._peer.ask(op, self, *rest)

    def _own(self, op, *rest):
        """An operation by which the object decides itself how it relates to others."""
        if not self._made and not any(type(x) is Remote and x._made for x in rest):
            if self._peer.strict:
                raise TypeError('an object of the submission is no plain value')
        self._peer.trusted_own = True
        result = self._ask(op, *rest)
        if type(result) is Remote and result._kind == 'o':
            set_slot(result, '_made', True)
        return result

    def __call__(self, *args, **named):
        result = self._peer.call(self, args, named)
        if self._kind == 'c' and self._made and type(result) is Remote:
            set_slot(result, '_made', True)
        return result

    def __getattr__(self, name):
        if self._peer.strict and not self._made and name in PREDICATES:
            raise AttributeError('%s of an object that is no plain value' % name)
        return self._ask('getattr', name)

    def __setattr__(self, name, value):
        self._ask('setattr', name, value)

    def __delattr__(self, name):
        self._ask('delattr', name)

    def __eq__(self, other):
        if type(other) is Remote and other._id == self._id:
            return True
        if self._peer.strict and not self._made and not (type(other) is Remote and other._made):
            return False
        return bool(self._own('eq', other))

    def __ne__(self, other):
        if type(other) is Remote and other._id == self._id:
            return False
        if self._peer.strict and not self._made and not (type(other) is Remote and other._made):
            return True
        return bool(self._own('ne', other))

    def __hash__(self):
        return self._own('hash') if self._made else hash(('remote', self._id))

    def __bool__(self):
        if self._kind != 'o':
            return True
        self._peer.trusted_own |= self._made
        return self._ask('bool') is True

    def __contains__(self, item):
        if self._made or not self._peer.strict:
            return bool(self._own('contains', item))
        return any(x is item or x == item for x in self)

    def __iter__(self):
        it = self if self._kind == 'g' else self._ask('iter')
        if it is self or type(it) is Remote:
            return Steps(it)
        return iter(it)

    def __next__(self):
        return self._ask('next')

    def __len__(self):
        return self._ask('len')

    def __str__(self):
        return str(self._ask('str'))

    def __repr__(self):
        return str(self._ask('repr'))

    def __format__(self, spec):
        return str(self._ask('format', spec))

    def __int__(self):
        return int(self._ask('int'))

    def __float__(self):
        return float(self._ask('float'))

    def __index__(self):
        return self._own('index')

    def __round__(self, *digits):
        return self._own('round', *digits)

    def __reversed__(self):
        return self._ask('reversed')

    def __enter__(self):
        return self._ask('enter')

    def __exit__(self, kind, error, trace):
        return bool(self._ask('exit', kind.__name__ if kind else None, str(error) if error else None))

    def __copy__(self):
        return self._ask('copy')

    def __deepcopy__(self, memo):
        return self._ask('deepcopy')

    def __instancecheck__(self, other):
        return type(other) is Remote and self._ask('isinstance', other) is True

    def __subclasscheck__(self, other):
        return type(other) is Remote and self._ask('issubclass', other) is True


set_slot = object.__setattr__


def _operators():
    def forward(op):
        return lambda self, *rest: self._own(op, *rest)

    def back(op):
        return lambda self, other: self._peer.reflected(op, other, self)
    for op in BINARY:
        name = op.rstrip('_')
        setattr(Remote, '__%s__' % name, forward(op))
        setattr(Remote, '__r%s__' % name, back(op))
    for op in ORDER + UNARY:
        setattr(Remote, '__%s__' % op, forward(op))
    for op in ('getitem', 'delitem', 'setitem'):
        setattr(Remote, '__%s__' % op, lambda self, *rest, op=op: self._ask(op, *rest))


_operators()


class Steps:
    def __init__(self, remote):
        self.remote = remote

    def __iter__(self):
        return self

    def __next__(self):
        return self.remote.__next__()


class Peer:
    """One end. `strict`: this is the judge, and the other end is a submission."""

    def __init__(self, inward, outward, strict):
        self.inward, self.outward, self.strict = inward, outward, strict
        self.mine, self.numbers = [], {}      # what the other side has handles of
        self.theirs, self.mirrors = {}, {}
        self.trusted_own = False              # an object of the other side has decided something about itself
        self.calls = 0                        # requests about the submission
        self.broken = False
        self.owner = posix.getpid()
        self.open_classes = lambda t: True    # objects whose attributes the other side may ask for
        self.keep_class = None
        self.capture = None                   # text that was printed since the last message
        self.arguments = {}
        self.encoder = Encoder(self.handle, True, self.keeps)
        self.build = builder(dict(TAGS, h=self.their, m=self.own, g=self.known, x=self.mirror))

    # Values out and in.

    def keeps(self, t):
        return self.keep_class is not None and self.keep_class(t)

    def handle(self, v):
        if type(v) is Remote:
            return '{"m": %d}' % v._id
        t = type(v)
        if isinstance(v, type) and v in self.mirrors.values():
            return '{"m": %d}' % v.number
        name = getattr(v, '__qualname__', None)
        if type(name) is str and getattr(builtins, name, None) is v:
            return '{"g": ["builtins", %s]}' % quote(name)
        if self.strict and type(name) is str and type(getattr(v, '__module__', None)) is str:
            home = sys.modules.get(v.__module__)
            if v.__module__ in sys.stdlib_module_names and getattr(home, name, None) is v:
                return '{"g": [%s, %s]}' % (quote(v.__module__), quote(name))
        if isinstance(v, type) and issubclass(v, BaseException) and not self.strict:
            return '{"x": [%d, %s, %s]}' % (self.number(v), quote(v.__name__), self.encoder.several(bases_of(v), 0))
        if isinstance(v, type):
            kind = 'c'
        elif t.__name__ in ('function', 'builtin_function_or_method', 'method', 'partial', '_lru_cache_wrapper'):
            kind = 'f'
        elif t.__name__ == 'module':
            kind = 'm'
        elif t.__name__ == 'coroutine':
            kind = 'k'
        elif hasattr(t, '__next__'):
            kind = 'g'
        else:
            kind = 'o'
        return '{"h": [%d, "%s"]}' % (self.number(v), kind)

    def number(self, v):
        n = self.numbers.get(id(v))
        if n is None:
            n = self.numbers[id(v)] = len(self.mine)
            self.mine.append(v)
        return n

    def their(self, body, build):
        number, kind = body
        remote = self.theirs.get(number)
        if remote is None:
            remote = self.theirs[number] = Remote(self, int(number), str(kind))
        return awaited(remote) if kind == 'k' and self.strict else remote

    def own(self, number, build):
        if number < 0:
            raise IndexError
        return self.mine[number]

    def known(self, body, build):
        where, name = body
        if self.strict and where != 'builtins':
            raise LookupError(name)
        v = getattr(module(where), name)
        if self.strict and not (isinstance(v, type)):
            raise LookupError(name)
        return v

    def mirror(self, body, build):
        """A class of exceptions of the other side, as one of ours that can be caught."""
        number, name, bases = body
        made = self.mirrors.get(number)
        if made is None:
            base = next((b for b in (known_error(m, n) for m, n in bases) if b is not None), Exception)
            made = self.mirrors[number] = type(str(name), (base,), {'number': int(number)})
        return made

    def show(self, v):
        return self.encoder.show(v)

    # Messages.

    def send(self, text):
        if posix.getpid() != self.owner:
            posix._exit(0)  # a copy of the process has no say
        send(self.outward, text)

    def message(self):
        try:
            m = parse(receive(self.inward))
            if type(m) is not list or not m or type(m[0]) is not str:
                raise ValueError
            return m
        except BaseException:
            self.broken = True
            raise Ended('the submission has ended' if self.strict else 'the judge has ended') from None

    def ask(self, op, *rest):
        return self.request(op, '[%s]' % ', '.join(map(self.show, rest)))

    def call(self, function, args, named):
        text = '[%s, %s, {"d": %s}]' % (self.show(function), self.show(list(args)), self.encoder.pairs(named.items(), 0))
        return self.request('call', text, list(args) + list(named.values()))

    def reflected(self, op, other, mine):
        if self.strict and not mine._made:
            raise TypeError('an object of the submission is no plain value')
        self.trusted_own = True
        return self.ask(op, other, mine)

    def request(self, op, rest, arguments=()):
        if self.broken:
            raise Ended('the submission has ended')
        self.calls += 1
        self.send('["ask", "%s", %s]' % (op, rest))
        while True:
            m = self.message()
            if m[0] == 'ask':
                self.answer(m)
                continue
            try:
                if m[0] == 'value':
                    _, j, printed, changed = m
                    if printed:
                        sys.stdout.write(printed)
                    for place, new in changed:
                        absorb(arguments[place], self.build(new))
                    return arguments[j['a']] if type(j) is dict and 'a' in j else self.build(j)
                _, error, printed = m
                if printed:
                    sys.stdout.write(printed)
                error = self.error_of(error)
            except Exception as fault:
                raise Unreadable('the submission gave what cannot be read: %s' % type(fault).__name__) from None
            raise error

    def answer(self, m):
        """Does what the other side asks for, and says what came of it."""
        arguments = []
        try:
            op = m[1]
            if op == 'call':
                function, args, named = [self.build(x) for x in m[2]]
                if self.strict and id(function) not in self.numbers:
                    raise LookupError('not given to the submission')
                arguments = args + list(named.values())
                before = [self.show(x) if type(x) in MUTABLE else None for x in arguments]
                v = function(*args, **named)
                changed = [(i, self.show(x)) for i, x in enumerate(arguments) if before[i] is not None]
                changed = ', '.join('[%d, %s]' % (i, text) for i, text in changed if text != before[i])
            else:
                v, changed = self.perform(op, [self.build(x) for x in m[2]]), ''
            same = next((i for i, x in enumerate(arguments) if x is v and type(v) in MUTABLE), None)
            text = self.show(v) if same is None else '{"a": %d}' % same
            reply = '["value", %s, %s, [%s]]' % (text, quote(self.printed()), changed)
        except BaseException as error:
            if isinstance(error, Ended):
                raise
            reply = '["error", %s, %s]' % (self.show_error(error), quote(self.printed()))
        self.send(reply)

    def printed(self):
        return self.capture() if self.capture is not None else ''

    def perform(self, op, args):
        if self.strict and op in ('getattr', 'setattr', 'delattr'):
            if not self.open_classes(type(args[0])) or args[1].startswith('_'):
                raise AttributeError(args[1])
        return OPERATIONS[op](*args)

    # Errors.

    def show_error(self, error):
        try:
            args = self.show([x if type(x) in PLAIN else str(x) for x in error.args])
            facts = self.encoder.pairs([(k, x) for k, x in vars(error).items() if type(x) in PLAIN and type(k) is str], 0)
            kind = type(error)
            return '[%s, %s, %s]' % (self.handle(kind) if known_error(kind.__module__, kind.__name__) is not kind else
                                     '[%s, %s]' % (quote(kind.__module__), quote(kind.__name__)), args, facts)
        except BaseException:
            return '[["builtins", "Exception"], [], []]'

    def error_of(self, j):
        kind, args, facts = j
        kind = known_error(*kind) if type(kind) is list else self.build(kind)
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            kind = Exception
        error = kind.__new__(kind)
        error.args = tuple(self.build(args))
        for name, value in facts:
            try:
                setattr(error, str(name), self.build(value))
            except AttributeError:
                pass
        error.from_submission = True
        return error


async def awaited(remote):
    return remote._ask('await')


class Ended(BaseException):
    """The other process is gone; nothing that it was asked has an answer."""


class Unreadable(Exception):
    pass


PLAIN = (int, float, str, bool, type(None), tuple, list, dict)
MUTABLE = (list, dict, set, bytearray)


def bases_of(kind):
    return [[b.__module__, b.__name__] for b in kind.__mro__[1:] if known_error(b.__module__, b.__name__) is b]


def known_error(where, name):
    """An exception class of Python itself, or nothing."""
    if where != 'builtins' and (where.split('.')[0] not in sys.stdlib_module_names or where.startswith(('unittest', '_pytest'))):
        return None
    try:
        kind = getattr(sys.modules[where] if where in sys.modules else module(where), name, None)
    except Exception:
        return None
    return kind if isinstance(kind, type) and issubclass(kind, BaseException) else None


def absorb(old, new):
    """Makes `old` what `new` is, in place, as deep as both have the same shape."""
    if type(old) is not type(new):
        return
    if type(old) is list:
        for i, x in enumerate(old[:len(new)]):
            if type(x) in MUTABLE and type(x) is type(new[i]):
                absorb(x, new[i])
                new[i] = x
        old[:] = new
    elif type(old) is dict:
        for key, x in old.items():
            if key in new and type(x) in MUTABLE and type(x) is type(new[key]):
                absorb(x, new[key])
                new[key] = x
        old.clear()
        old.update(new)
    elif type(old) is set:
        old.clear()
        old.update(new)
    elif type(old) is bytearray:
        old[:] = new


def _leave(manager, name, text):
    kind = getattr(builtins, name, Exception) if name else None
    return manager.__exit__(kind, kind(text) if kind else None, None)


def _await(thing):
    async def whole():
        return await thing
    return module('asyncio').run(whole())


OPERATIONS = {op: getattr(_operator, op) for op in
              BINARY + ORDER + UNARY + ('eq', 'ne', 'index', 'getitem', 'setitem', 'delitem', 'contains')}
OPERATIONS.update(
    getattr=getattr, setattr=setattr, delattr=delattr, len=len, iter=iter, next=next, bool=bool, str=str, repr=repr, hash=hash,
    int=int, float=float, format=format, round=round, reversed=reversed, isinstance=lambda c, x: isinstance(x, c),
    issubclass=lambda c, x: issubclass(x, c), enter=lambda m: m.__enter__(), exit=_leave,
    copy=lambda x: module('copy').copy(x), deepcopy=lambda x: module('copy').deepcopy(x))
OPERATIONS['await'] = _await
