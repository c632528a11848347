# Writes attacks.jsonl (programs after memory that no limit of a process counts), refused.jsonl (those of them that an
# ordinary user is refused) and right.jsonl (right programs of 300 MB) into a folder.
import json
import sys

LIBC = '''
import ctypes, os, time
l = ctypes.CDLL(None, use_errno=True)
l.mmap.restype = ctypes.c_void_p
l.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
l.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
l.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
'''
DROPPED = '''
import mmap, os, time
for p in range(8):
    if os.fork() == 0:
        keep = []
        try:
            for i in range(44):
                m = MAP
                for j in range(0, len(m), 4096): m[j] = 1
                m.madvise(mmap.MADV_DONTNEED)
                keep.append(m)
        except BaseException: pass
        time.sleep(100)
time.sleep(100)
'''
ATTACKS = {
    'shared pages that nobody maps': DROPPED.replace('MAP', 'mmap.mmap(-1, 10 << 20)'),
    'shared pages of /dev/zero': DROPPED.replace('MAP', 'mmap.mmap(os.open("/dev/zero", os.O_RDWR), 10 << 20)'),
    'shared memory, unmapped but for a page': LIBC + '''
size = 256 << 20
for i in range(16):
    p = l.mmap(None, size, 3, 0x21, -1, 0)
    if p in (None, 2 ** 64 - 1): break
    ctypes.memset(p, 1, size)
    l.munmap(p + 4096, size - 4096)
time.sleep(100)
''',
    'datagrams of closed sockets': '''
import socket, os, time
for k in range(40):
    if os.fork() == 0:
        keep = []
        for i in range(100):
            try:
                name = '/tmp/%d_%d' % (os.getpid(), i)
                r = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                r.bind(name)
                keep.append(r)
                for j in range(12):
                    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                    s.setblocking(False)
                    try: s.sendto(b'x' * 200000, name)
                    except OSError: pass
                    s.close()
            except OSError: pass
        time.sleep(100)
time.sleep(100)
''',
    'socket buffers': '''
import socket, os, time
for k in range(60):
    if os.fork() == 0:
        keep = []
        try:
            for i in range(55):
                pair = socket.socketpair()
                keep += pair
                for s in pair:
                    try: s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
                    except OSError: pass
                    s.setblocking(False)
                    try:
                        while True: s.send(b'x' * 65536)
                    except OSError: pass
        except OSError: pass
        time.sleep(100)
time.sleep(100)
''',
    'children that fill their memory at once': '''
import os, time
r, w = os.pipe()
for i in range(20):
    if os.fork() == 0:
        os.read(r, 1)
        x = bytearray(400 << 20)
        time.sleep(100)
time.sleep(.2)
os.write(w, b'x' * 20)
time.sleep(100)
''',
    'mappings': LIBC + '''
for k in range(60):
    if os.fork() == 0:
        size = 256 << 20
        p = l.mmap(None, size, 0, 0x22, -1, 0)
        for i in range(0, size, 8192):
            if l.mprotect(p + i, 4096, 1) != 0: break
        time.sleep(100)
time.sleep(100)
''',
    'page tables': LIBC + '''
for k in range(60):
    if os.fork() == 0:
        for i in range(400):
            p = l.mmap((1 << 44) + (i << 30), 4096, 3, 0x22, -1, 0)
            if p not in (None, 2 ** 64 - 1): ctypes.memset(p, 1, 4096)
        time.sleep(100)
time.sleep(100)
''',
    'pipes': '''
import os, fcntl, time
for k in range(60):
    if os.fork() == 0:
        try:
            while True:
                a, b = os.pipe()
                try: fcntl.fcntl(b, 1031, 1 << 20)
                except OSError: pass
                os.set_blocking(b, False)
                try:
                    while True: os.write(b, b'x' * 65536)
                except OSError: pass
        except OSError: pass
        time.sleep(100)
time.sleep(100)
''',
    'scratch folder and heap': '''
import time
with open('/tmp/big', 'wb') as f:
    try:
        while True: f.write(b'x' * (1 << 20))
    except OSError: pass
x = bytearray(480 << 20)
time.sleep(100)
''',
}
REFUSED = ['shared pages that nobody maps', 'shared pages of /dev/zero', 'shared memory, unmapped but for a page',
           'datagrams of closed sockets']
RIGHT = '''
import time
x = bytearray(300 << 20)
time.sleep(.3)
def f(x): return x
'''


def write(name, programs):
    with open(sys.argv[1] + '/' + name, 'w') as out:
        for name, program in programs:
            out.write(json.dumps({'id': name, 'entry_point': 'f', 'calls': [[1]], 'expected_values': [1],
                                  'program': program + '\ndef f(x): return x\n'}) + '\n')


write('attacks.jsonl', ATTACKS.items())
write('refused.jsonl', [(name, ATTACKS[name]) for name in REFUSED])
write('right.jsonl', [(str(i), RIGHT) for i in range(6)])
