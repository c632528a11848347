# Reads the asserts of a data set once, away from any submission: `assert f(x) == v` becomes the call's source and the
# value of v, so that v never enters the sandbox of a submission. What cannot be taken apart stays a test to be run
# beside the submission, and is marked weak.
def main():
    import ast, json, os, sys
    job = json.loads(sys.stdin.buffer.read())
    if hasattr(sys, 'set_int_max_str_digits'):
        sys.set_int_max_str_digits(0)
    entry = job.get('entry')
    scope = {'__name__': 'tests'}
    names = {entry, 'candidate'} - {None}

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

    def take(node, source):
        if isinstance(node.test, ast.Constant) and node.test.value:
            return
        try:
            test = rewrite(node.test)
        except BaseException:
            test = None
        tests.append(test if test is not None else {'weak': source})

    setup = job.get('setup') or ''
    try:
        exec(compile(setup, 'setup', 'exec'), scope)
    except BaseException:
        pass  # it may need the submission; what depends on it becomes weak
    for source in job['sources']:
        tree = ast.parse(source)
        check = next((n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == 'check'), None)
        if check is None:
            for node in tree.body:
                if isinstance(node, ast.Assert):
                    take(node, ast.unparse(node))
                elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                    continue
                else:
                    tests = [{'weak': source}]
                    break
            continue
        others = [n for n in tree.body if n is not check]
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
            tests.append({'weak': source + '\ncheck(candidate)\n'})
            continue
        prefix = ''.join(ast.unparse(n) + '\n' for n in others)
        for node in check.body:
            if isinstance(node, ast.Assert):
                take(node, prefix + ast.unparse(node))
    text = json.dumps(tests)
    data = (job['nonce'] + ' ' + text + '\n').encode()
    while data:
        data = data[os.write(3, data):]


main()
