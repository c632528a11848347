# Runs a compiled submission once per test inside the sandbox; see runner.py for the protocol.
def main():
    import json, os, subprocess, sys
    job = json.loads(sys.stdin.buffer.read())

    def say(line):
        data = (job['nonce'] + ' ' + line + '\n').encode()
        while data:
            data = data[os.write(3, data):]

    for i, text in enumerate(job['inputs']):
        with open('/tmp/in', 'wb') as f:
            f.write(text.encode())
        with open('/tmp/in', 'rb') as stdin, open('/tmp/out', 'wb') as stdout:
            code = subprocess.run(['/tmp/prog'], stdin=stdin, stdout=stdout, stderr=subprocess.DEVNULL, close_fds=True).returncode
        with open('/tmp/out', 'rb') as f:
            output = f.read(1 << 20).decode('utf-8', 'replace')
        say('%d v %s' % (i, json.dumps(output)) if code == 0 else '%d e exit%d' % (i, code))
    say('done')


main()
