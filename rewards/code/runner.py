# The main process of a sandbox that runs Python. It forks the process that will hold the submission before it has read any
# test, so that no copy of one is there; then it reads the tests, asks the submission over two pipes, and writes what came
# back to descriptor 3, each line led by the job's nonce. Uses wire.py, and with tests that are Python peer.py and harness.py.

PRELUDE = {}  # names that graders of competitions give to every program, by module
for _where, _names in (
        ('typing', 'List Dict Set Tuple Optional Union Any Callable Iterable Iterator Deque DefaultDict'),
        ('collections', 'Counter defaultdict deque OrderedDict namedtuple ChainMap'),
        ('heapq', 'heappush heappop heapify heapreplace heappushpop nlargest nsmallest merge'),
        ('bisect', 'bisect bisect_left bisect_right insort insort_left insort_right'),
        ('itertools', 'accumulate chain combinations combinations_with_replacement count cycle groupby islice permutations '
                      'product repeat zip_longest starmap takewhile dropwhile pairwise'),
        ('functools', 'lru_cache cache reduce cmp_to_key partial wraps'),
        ('math', 'inf gcd lcm sqrt floor ceil log log2 log10 factorial comb perm isqrt pi prod'),
        ('operator', 'itemgetter attrgetter xor'), ('copy', 'deepcopy'), ('string', 'ascii_lowercase ascii_uppercase digits'),
        ('dataclasses', 'dataclass field'), ('enum', 'Enum'), ('random', 'randint'), ('fractions', 'Fraction'),
        ('decimal', 'Decimal')):
    for _name in _names.split():
        PRELUDE[_name] = _where
MODULES = frozenset('math re sys os random heapq bisect itertools functools collections operator copy string json time datetime '
                    'statistics typing decimal fractions'.split())


class Leave:
    """exit() and quit(), which Python's site module would give."""

    def __init__(self, name):
        self.name = name

    def __repr__(self):
        return 'Use %s() or Ctrl-D (i.e. EOF) to exit' % self.name

    def __call__(self, code=None):
        try:
            sys.stdin.close()
        except BaseException:
            pass
        raise SystemExit(code)


def prepare():
    builtins.exit, builtins.quit = Leave('exit'), Leave('quit')
    builtins.credits = builtins.copyright = builtins.license = builtins.help = lambda *a: None
    sys.argv = ['solution.py']
    if sys.path and sys.path[0] == '':  # before Python 3.11 nothing else keeps the current folder out
        del sys.path[0]
    for name in (b'OPENBLAS_NUM_THREADS', b'OMP_NUM_THREADS', b'MKL_NUM_THREADS'):
        posix.putenv(name, b'1')


def names_of(code, found):
    found.update(code.co_names)
    for constant in code.co_consts:
        if type(constant) is type(code):
            names_of(constant, found)
    return found


def give_prelude(code, scope):
    for name in names_of(code, set()):
        if name not in scope and not hasattr(builtins, name):
            if name in PRELUDE:
                scope[name] = getattr(module(PRELUDE[name]), name, None)
            elif name in MODULES:
                scope[name] = module(name)


class Submission:
    """The program as a module, in the process that is its own."""

    def __init__(self, job):
        self.module = type(sys)('solution')
        self.module.__file__ = '/tmp/solution.py'
        sys.modules['solution'] = self.module
        self.scope = self.module.__dict__
        self.entry = job['entry']
        if job['given']:
            try:
                exec(compile(job['given'], 'prompt.py', 'exec', 0, True), self.scope)
            except Exception:
                pass  # prose, or half a function: the program has all that it needs
            self.scope.pop(self.entry, None)
        if job['setup']:
            exec(compile(job['setup'], 'setup.py', 'exec', 0, True), self.scope)
        code = compile(job['program'], 'solution.py', 'exec', 0, True)
        if job['prelude']:
            give_prelude(code, self.scope)
        exec(code, self.scope)
        if self.entry and 'candidate' not in self.scope:
            entry = self.scope.get(self.entry)
            self.scope['candidate'] = entry if entry is not None else lambda *a, **k: self.find(self.entry)(*a, **k)

    def find(self, name):
        """A name of the program, also one of its class Solution (LeetCode), also Solution().name."""
        scope = self.scope
        if name in scope:
            return scope[name]
        if not name.isidentifier():
            return eval(compile(name, 'entry', 'eval', 0, True), scope)
        solution = scope.get('Solution')
        if isinstance(solution, type) and hasattr(solution, name):
            return getattr(solution(), name)
        raise NameError("name '%s' is not defined" % name)


def error_name(error):
    return type.__dict__['__name__'].__get__(type(error))


def fork_submission(job):
    """Two pipes to a new process that loads the program and answers; gives the judge's ends."""
    from_judge, to_submission = posix.pipe()
    from_submission, to_judge = posix.pipe()
    if posix.fork() != 0:
        posix.close(from_judge)
        posix.close(to_judge)
        return from_submission, to_submission
    null = posix.open('/dev/null', posix.O_RDONLY)
    posix.dup2(null, 0)
    inward, outward = 10, 11
    posix.dup2(from_judge, inward)
    posix.dup2(to_judge, outward)
    for fd in range(3, 10):
        try:
            posix.close(fd)
        except OSError:
            pass
    posix.closerange(12, 64)
    return None, (inward, outward)


def call_values(job, inward, outward):
    """Answers calls with values that are compared outside the sandbox."""
    owner = posix.getpid()
    encoder = Encoder(lambda v: '{"o": %s}' % quote(error_name(v)), False, None)

    def say(text):
        if posix.getpid() != owner:
            posix._exit(0)  # a copy of the process has no say
        send(outward, text)
    try:
        submission = Submission(job)
    except BaseException as error:
        say('!' + error_name(error))
        return
    say('')
    while True:
        request = parse(receive(inward))
        try:
            if type(request) is str:
                value = eval(compile(request, 'call', 'eval', 0, True), submission.scope)
            else:
                value = submission.find(job['entry'])(*request)
            text = encoder.show(value)
        except BaseException as error:
            text = '!' + error_name(error)
        say(text)


def judge_values(say, tests, inward, outward):
    for i, call in enumerate([None] + tests['calls']):
        try:
            if call is not None:
                send(outward, call)
            text = receive(inward)
        except (EOFError, OSError, ValueError):
            return  # the submission has ended: no report
        if '\n' in text:
            return
        if call is None:
            if text:
                say('program ' + text[1:])
                return
            say('loaded')
        else:
            say('%d e %s' % (i - 1, text[1:]) if text[:1] == '!' else '%d v %s' % (i - 1, text))
    say('done')


# Programs that read and write.

def stand_in_streams(path):
    """open('/dev/stdin') and the like; the sandbox has no /proc for these links."""
    plain_open = builtins.open
    table = {'/dev/stdin': path, '/dev/fd/0': path, '/proc/self/fd/0': path, '/dev/stdout': 1, '/dev/fd/1': 1,
             '/proc/self/fd/1': 1, '/dev/stderr': 2, '/dev/fd/2': 2, '/proc/self/fd/2': 2}

    def open(file, *args, **named):
        if type(file) is str:
            file = table.get(file, file)
            if type(file) is int:
                file = posix.dup(file)
        return plain_open(file, *args, **named)
    builtins.open = sys.modules['io'].open = open


def become_program(program, number):
    """In a process of its own: what `python3 solution.py < input > output` would do; returns when the program has run."""
    path_in = '/tmp/.in%d' % number
    posix.dup2(posix.open(path_in, posix.O_RDONLY), 0)
    posix.dup2(posix.open('/tmp/.out%d' % number, posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC), 1)
    posix.closerange(3, 64)
    scope = sys.modules['__main__'].__dict__
    scope.clear()
    scope.update(__name__='__main__', __builtins__=builtins, __doc__=None, __package__=None, __loader__=None, __spec__=None,
                 __file__='/tmp/solution.py')
    stand_in_streams(path_in)
    exec(compile(program, 'solution.py', 'exec', 0, True), scope)


def judge_programs(say, program, tests):
    """True in the process of a program that has run: Python's own end, with atexit and threads, comes next."""
    try:
        compile(program, 'solution.py', 'exec', 0, True)
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        say('program ' + error_name(error))
        return False
    most = tests['most_output']
    for i, text in enumerate(tests['inputs']):
        path_in, path_out = '/tmp/.in%d' % i, '/tmp/.out%d' % i
        fd = posix.open(path_in, posix.O_WRONLY | posix.O_CREAT, 0o600)
        write_all(fd, text.encode('utf-8', 'surrogatepass'))
        posix.close(fd)
        pid = posix.fork()
        if pid == 0:
            become_program(program, i)
            return True
        code = posix.waitstatus_to_exitcode(posix.waitpid(pid, 0)[1])
        try:
            posix.kill(-1, 9)  # nothing of this test outlives it
        except OSError:
            pass
        output = b''
        try:
            fd = posix.open(path_out, posix.O_RDONLY)
            output = posix.read(fd, most + 1)
            posix.close(fd)
            posix.unlink(path_out)
            posix.unlink(path_in)
        except OSError:
            pass
        if code != 0:
            say('%d e exit%d' % (i, code))
        elif len(output) > most:
            say('%d e long' % i)
        else:
            say('%d v %s' % (i, quote(output.decode('utf-8', 'replace'))))
        if code != 0 and tests['stop']:
            break
    say('done')
    return False


def main():
    prepare()
    job = parse(read_exactly(0, int(read_exactly(0, 16), 16)).decode())
    sys.path += job['packages']
    kind = job['kind']
    inward = outward = None
    if kind != 'programs':
        inward, outward = fork_submission(job)
        if inward is None:
            if kind == 'values':
                call_values(job, *outward)
            else:
                serve_judge(job, *outward)
            posix._exit(0)
    tests = parse(read_exactly(0, int(read_exactly(0, 16), 16)).decode())
    nonce = tests['nonce']

    def say(line):
        write_all(3, (nonce + ' ' + line + '\n').encode('ascii', 'replace'))
    if kind == 'values':
        judge_values(say, tests, inward, outward)
    elif kind == 'judged':
        judge_tests(say, job, tests, inward, outward)
    elif judge_programs(say, job['program'], tests):
        return
    sys.stdout.flush()
    posix._exit(0)


main()
