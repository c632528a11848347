# Runs one submission inside the sandbox: reads the job from standard input, writes plain values to descriptor 3, each
# line led by the job's nonce. Expected values are never here; what is written is compared outside. Everything used after
# the submission has run is bound to locals first, since it may patch modules and builtins.
def main():
    # Only what the interpreter has at hand: the json package would cost as much as starting Python. Its C half reads the
    # job with the package's own defaults.
    import posix, sys, _json

    if sys.path[0] == '':  # before Python 3.11 nothing else keeps the current folder out
        del sys.path[0]

    class Defaults:
        strict, object_hook, object_pairs_hook, parse_float, parse_int = True, None, None, float, int
        parse_constant = {'NaN': float('nan'), 'Infinity': float('inf'), '-Infinity': -float('inf')}.__getitem__
    job = _json.make_scanner(Defaults)(sys.stdin.buffer.read().decode('utf-8'), 0)[0]
    null = posix.open('/dev/null', posix.O_RDONLY)
    posix.dup2(null, 0)
    sys.stdin = open(0, closefd=False)  # another may take its place: the old one must not close it
    sys.path.insert(0, '/usr/lib/python3/dist-packages') if job.get('packages') else None
    if hasattr(sys, 'set_int_max_str_digits'):
        sys.set_int_max_str_digits(0)
    write, nonce, kind, program = posix.write, job['nonce'], job['kind'], job['program']
    quote, base, sub = _json.encode_basestring_ascii, type, issubclass
    none, yes, no = None, True, False
    integer, real, text, raw, listing, pair, group, frozen, table, imaginary = (
        int, float, str, bytes, list, tuple, set, frozenset, dict, complex)
    int_text, float_text, hexed = int.__repr__, float.__repr__, bytes.hex
    name_of, failure, everything = type.__dict__['__name__'].__get__, TypeError, BaseException
    walk_list, walk_tuple, walk_set, walk_frozen, walk_table = (
        list.__iter__, tuple.__iter__, set.__iter__, frozenset.__iter__, dict.items)
    count, join, boolean, encode = [0], str.join, bool, str.encode

    def say(line):
        data = encode(nonce + ' ' + line + '\n', 'ascii', 'replace')
        while data:
            data = data[write(3, data):]

    def show(v, depth):
        count[0] += 1
        if depth > 60 or count[0] > 200000:
            raise failure('too large')
        t = base(v)
        if v is none:
            return 'null'
        if t is boolean:
            return 'true' if v is yes else 'false'
        if sub(t, integer):
            return int_text(v)
        if sub(t, real):
            return '{"f": "' + float_text(v) + '"}'
        if sub(t, text):
            return quote(text.__str__(v))
        if sub(t, raw):
            return '{"b": "' + hexed(v) + '"}'
        if sub(t, imaginary):
            return '{"c": ["' + float_text(v.real) + '", "' + float_text(v.imag) + '"]}'
        if sub(t, listing):
            return '[' + join(', ', [show(x, depth + 1) for x in walk_list(v)]) + ']'
        if sub(t, pair):
            return '{"t": [' + join(', ', [show(x, depth + 1) for x in walk_tuple(v)]) + ']}'
        if sub(t, group):
            return '{"s": [' + join(', ', [show(x, depth + 1) for x in walk_set(v)]) + ']}'
        if sub(t, frozen):
            return '{"s": [' + join(', ', [show(x, depth + 1) for x in walk_frozen(v)]) + ']}'
        if sub(t, table):
            return '{"d": [' + join(', ', ['[' + show(k, depth + 1) + ', ' + show(x, depth + 1) + ']'
                                           for k, x in walk_table(v)]) + ']}'
        if depth == 0:
            return '{"o": ' + quote(name_of(t)) + '}'  # it may be tested for truth only
        raise failure('not a plain value: ' + name_of(t))

    def plain(v, depth=0):
        # A copy in exact builtin types, so that an object with its own __eq__ cannot pass a test.
        t = base(v)
        if depth > 60:
            raise failure('too deep')
        if v is none or t is boolean or t is integer or t is real or t is text or t is raw or t is imaginary:
            return v
        if sub(t, listing):
            return [plain(x, depth + 1) for x in walk_list(v)]
        if sub(t, pair):
            return pair([plain(x, depth + 1) for x in walk_tuple(v)])
        if sub(t, group):
            return group([plain(x, depth + 1) for x in walk_set(v)])
        if sub(t, frozen):
            return frozen([plain(x, depth + 1) for x in walk_frozen(v)])
        if sub(t, table):
            return {plain(k, depth + 1): plain(x, depth + 1) for k, x in walk_table(v)}
        if sub(t, integer):
            return integer(int_text(v))
        if sub(t, real):
            return real(float_text(v))
        if sub(t, text):
            return text.__str__(v)
        raise failure('not a plain value: ' + name_of(t))

    if kind == 'stdio':
        return run_programs(job, say, quote)

    module = type(sys)('solution')
    sys.modules['solution'] = module
    scope = module.__dict__
    try:
        if job.get('setup'):
            exec(compile(job['setup'], 'setup.py', 'exec'), scope)
        exec(compile(program, 'solution.py', 'exec'), scope)
    except everything as error:
        say('program ' + name_of(base(error)))
        return
    say('loaded')
    entry, calls, weak = job.get('entry'), job.get('calls', []), job.get('weak', [])
    function_type = type(main)
    if entry and 'candidate' not in scope and entry in scope:
        scope['candidate'] = scope[entry]
    for i, call in enumerate(calls):
        try:
            if base(call) is text:
                value = eval(compile(call, 'call', 'eval'), scope)
            else:
                value = scope[entry](*call)
            count[0] = 0
            say('%d v %s' % (i, show(value, 0)))
        except everything as error:
            say('%d e %s' % (i, name_of(base(error))))
    for i, source in enumerate(weak):
        def guard(function):
            return lambda *a, **k: plain(function(*a, **k))
        guarded = {k: (guard(v) if base(v) is function_type else v) for k, v in walk_table(scope)}
        if entry in scope:
            guarded['candidate'] = guard(scope[entry])
        try:
            exec(compile(source, 'test.py', 'exec'), guarded)
            say('%d w ok' % i)
        except everything as error:
            say('%d w %s' % (i, name_of(base(error))))
    say('done')


def run_programs(job, say, quote):
    # One fresh process per test; the submission reads standard input and writes standard output.
    import os, sys
    for i, text in enumerate(job['inputs']):
        path_in, path_out = '/tmp/.in%d' % i, '/tmp/.out%d' % i
        with open(path_in, 'w') as f:
            f.write(text)
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                os.dup2(os.open(path_in, os.O_RDONLY), 0)
                os.dup2(os.open(path_out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
                os.closerange(3, 64)
                os.unlink(path_in)
                sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)
                scope = {'__name__': '__main__', '__builtins__': __builtins__}
                try:
                    exec(compile(job['program'], 'solution.py', 'exec'), scope)
                    code = 0
                except SystemExit as error:
                    code = error.code if isinstance(error.code, int) else (0 if error.code is None else 1)
                sys.stdout.flush()
            finally:
                os._exit(code & 127)
        status = os.waitpid(pid, 0)[1]
        try:
            with open(path_out, 'rb') as f:
                output = f.read(1 << 20).decode('utf-8', 'replace')
            os.unlink(path_out)
        except OSError:
            output = ''
        if status == 0:
            say('%d v %s' % (i, quote(output)))
        else:
            say('%d e %s' % (i, 'exit%d' % os.waitstatus_to_exitcode(status)))
    say('done')


main()
