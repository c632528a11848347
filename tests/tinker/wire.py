"""The Tinker protocol by the standard library alone: HTTP, JSON, and as much of protocol buffers as there is in it."""
import http.client
import json
import struct
import subprocess


class Refused(Exception):
    def __init__(self, status, detail):
        super().__init__(f"{status}: {detail}")
        self.status, self.detail = status, detail


class Failed(Exception):
    def __init__(self, message, category):
        super().__init__(message)
        self.category = category


class Server:
    started = []

    @classmethod
    def end_all(cls):
        """Also of a test that failed in the middle."""
        for process in cls.started:
            if process.poll() is None:
                process.kill()

    def __init__(self, zeroth, model, out, *args):
        self.process = subprocess.Popen([zeroth, "tinker", "--model", model, "--out", out, "--listen", "127.0.0.1:0", *args],
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        Server.started.append(self.process)
        self.address = self.process.stdout.readline().strip()
        self.port = int(self.address.rsplit(":", 1)[1])
        self.headers = {}

    def call(self, path, body=None, method=None, headers=None):
        """The answer's JSON, or its bytes where it is none; Refused when it is not 200."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        headers = {**self.headers, **(headers or {})}
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        try:
            connection.request(method or ("POST" if body is not None else "GET"), "/api/v1/" + path, body, headers)
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            try:
                detail = json.loads(data)
            except ValueError:
                detail = data
            raise Refused(answer.status, detail)
        if answer.getheader("Content-Type") == "application/x-protobuf":
            return data
        return json.loads(data)

    def result(self, promise, protobuf=False):
        headers = {"Accept": "application/x-protobuf"} if protobuf else {}
        while True:
            try:
                got = self.call("retrieve_future", {"request_id": promise["request_id"]}, headers=headers)
            except Refused as refused:
                if refused.status == 408:
                    continue
                raise
            if isinstance(got, dict) and "error" in got:
                raise Failed(got["error"], got["category"])
            return got

    def do(self, path, body):
        return self.result(self.call(path, body))

    def end(self):
        self.process.terminate()
        return self.process.wait(60)


class Training:
    """A model under training, with its numbers."""

    def __init__(self, server, session, number, base="base", rank=4, state=None, moments=True, **lora):
        self.server, self.seq = server, 0
        where = {"session_id": session, "model_seq_id": number}
        if state:
            self.id = server.do("load_weights", {**where, "path": state, "optimizer": moments})["model_id"]
        else:
            config = {"rank": rank, "seed": 3, **lora} if rank is not None else None
            self.id = server.do("create_model", {**where, "base_model": base, "lora_config": config})["model_id"]
        assert self.id == f"{session}:train:{number}"

    def next(self):
        self.seq += 1
        return {"model_id": self.id, "seq_id": self.seq}

    def loss(self, data, loss, forward=False, **config):
        name = "forward" if forward else "forward_backward"
        key = "forward_input" if forward else "forward_backward_input"
        return self.server.do(name, {**self.next(), key: {"data": data, "loss_fn": loss, "loss_fn_config": config or None}})

    def logprobs(self, data):
        data = [{**datum, "loss_fn_inputs": {"target_tokens": datum["loss_fn_inputs"]["target_tokens"]}} for datum in data]
        return [out["logprobs"]["data"] for out in self.loss(data, "cross_entropy", forward=True)["loss_fn_outputs"]]

    def step(self, rate=1e-2, **params):
        return self.server.do("optim_step", {**self.next(), "adam_params": {"learning_rate": rate, **params}})["metrics"]

    def save(self, name, **more):
        return self.server.do("save_weights", {**self.next(), "path": name, **more})["path"]

    def load(self, path, optimizer=True):
        return self.server.do("load_weights", {**self.next(), "path": path, "optimizer": optimizer})

    def save_for_sampler(self, name, **more):
        return self.server.do("save_weights_for_sampler", {**self.next(), "path": name, **more})["path"]

    def snapshot(self, number, **more):
        return self.server.do("save_weights_for_sampler", {**self.next(), "sampling_session_seq_id": number, **more})["sampling_session_id"]


def sampler(server, session, number, **what):
    return server.call("create_sampling_session", {"session_id": session, "sampling_session_seq_id": number, **what})["sampling_session_id"]


def sample(server, sampling_session, seq, prompt, n=1, protobuf=False, more=None, **params):
    body = {"sampling_session_id": sampling_session, "seq_id": seq, "num_samples": n, "prompt": tokens(prompt),
            "sampling_params": params, **(more or {})}
    return server.result(server.call("asample", body), protobuf)


def tokens(ids):
    return {"chunks": [{"type": "encoded_text", "tokens": ids}]}


def tensor(values, kind="float32"):
    return {"data": values, "dtype": kind, "shape": [len(values)]}


def datum(ids, **inputs):
    """Of whole sequences: every token predicts the next one."""
    inputs = {name: tensor(values) for name, values in inputs.items()}
    return {"model_input": tokens(ids[:-1]), "loss_fn_inputs": {"target_tokens": tensor(ids[1:], "int64"), **inputs}}


# Protocol buffers: field numbers of tinker_public.proto.
def varint(value):
    out = b""
    while value >= 128:
        out += bytes([value % 128 + 128])
        value //= 128
    return out + bytes([value])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 1) + struct.pack("<d", value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def fields(data):
    """[(number, value)] of a message: numbers, doubles or bytes."""
    at, out = 0, []

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        tag = number()
        if tag & 7 == 0:
            out.append((tag >> 3, number()))
        elif tag & 7 == 1:
            out.append((tag >> 3, struct.unpack("<d", data[at:at + 8])[0]))
            at += 8
        else:
            size = number()
            out.append((tag >> 3, data[at:at + size]))
            at += size
    return out


def packed_datum(one):
    out = field(1, field(1, field(1, struct.pack(f"<{len(one['model_input']['chunks'][0]['tokens'])}i", *one["model_input"]["chunks"][0]["tokens"]))))
    for name, value in one["loss_fn_inputs"].items():
        real = value["dtype"] == "float32"
        n = len(value["data"])
        body = field(1, struct.pack(f"<{n}{'f' if real else 'q'}", *value["data"])) + field(3, 1 if real else 2) + field(4, varint(n))
        out += field(2, field(1, name) + field(2, body))
    return out


def packed_request(model, seq, data, loss, config=None, forward_only=False):
    out = field(1, model) + field(2, seq) + b"".join(field(3, packed_datum(one)) for one in data) + field(4, loss)
    for name, value in (config or {}).items():
        out += field(5, field(1, name) + field(2, float(value))) + field(7, field(1, name) + field(2, field(1, float(value))))
    return out + (field(6, 1) if forward_only else b"")


def unpacked_floats(data):
    return list(struct.unpack(f"<{len(data) // 4}f", data))


def unpacked_loss(data):
    """({name: [[floats] of each datum]}, metrics)."""
    outputs, metrics = {}, {}
    for number, value in fields(data):
        if number == 3:
            entry = dict(fields(value))
            metrics[entry[1].decode()] = entry[2]
        if number != 2:
            continue
        for inner, record in fields(value):
            if inner != 2:
                continue
            entry = dict(fields(record))
            batch = dict(fields(entry[2]))
            assert batch[3] == 1
            offsets = struct.unpack(f"<{len(batch[2]) // 8}q", batch[2])
            outputs[entry[1].decode()] = [unpacked_floats(batch[1][a:b]) for a, b in zip(offsets, offsets[1:])]
    return outputs, metrics


def unpacked_samples(data):
    """([(stopped, tokens, logprobs)], prompt log-probs)."""
    sequences, prompt = [], []
    for number, value in fields(data):
        if number == 1:
            one = dict(fields(value))
            ids = one.get(2, b"")
            sequences.append((one[1] == 0, list(struct.unpack(f"<{len(ids) // 4}i", ids)), unpacked_floats(one.get(3, b""))))
        if number == 2:
            prompt = unpacked_floats(value)
    return sequences, prompt
