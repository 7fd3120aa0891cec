"""A small Kafka client for the tests: topics, offsets and groups, asked over the protocol itself.

It is written from Kafka's protocol guide and shares no code with the product, so what it says about a group's
lag or a topic's end is an independent witness. One request per connection: slow, and simple.
"""

import socket
import struct
import time

CREATE_TOPICS, DELETE_TOPICS, LIST_OFFSETS, METADATA = 19, 20, 2, 3
OFFSET_COMMIT, OFFSET_FETCH, FIND_COORDINATOR, LIST_GROUPS, DESCRIBE_GROUPS = 8, 9, 10, 16, 15
DELETE_RECORDS, DESCRIBE_CONFIGS, CREATE_PARTITIONS, ALTER_CONFIGS = 21, 32, 37, 44  # the last: IncrementalAlterConfigs
NOT_READY = (14, 15, 16)  # coordinator loading, not available, not the coordinator
LEADERLESS = (5, 6)  # no leader yet, not the leader


class WireError(Exception):
    """The broker answered with an error code, or not at all."""

    def __init__(self, what, code=None):
        super().__init__(what if code is None else f"{what}: Kafka error {code}")
        self.code = code


class Reader:
    """Reads the protocol's primitive types, big-endian, from one answer."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, form):
        values = struct.unpack_from(">" + form, self.data, self.at)
        self.at += struct.calcsize(">" + form)
        return values[0] if len(values) == 1 else values

    def string(self):
        length = self.take("h")
        if length < 0:
            return None
        self.at += length
        return self.data[self.at - length:self.at].decode()

    def blob(self):
        length = self.take("i")
        if length < 0:
            return None
        self.at += length
        return self.data[self.at - length:self.at]

    def array(self, read):
        return [read() for _ in range(max(0, self.take("i")))]


def string(text):
    if text is None:
        return struct.pack(">h", -1)
    data = text.encode()
    return struct.pack(">h", len(data)) + data


def array(items):
    items = list(items)
    return struct.pack(">i", len(items)) + b"".join(items)


class Client:
    """Asks one broker, which is leader and coordinator of everything here."""

    def __init__(self, address, timeout=15):
        host, port = address.rsplit(":", 1)
        self.peer, self.timeout = (host, int(port)), timeout

    def ask(self, key, version, body):
        head = struct.pack(">hhi", key, version, 7) + string("sipeat-tests")
        with socket.create_connection(self.peer, self.timeout) as peer:
            peer.sendall(struct.pack(">i", len(head + body)) + head + body)
            size = struct.unpack(">i", self.exactly(peer, 4))[0]
            answer = Reader(self.exactly(peer, size))
        if answer.take("i") != 7:
            raise WireError(f"request {key}: an answer to another question")
        return answer

    @staticmethod
    def exactly(peer, size):
        data = b""
        while len(data) < size:
            part = peer.recv(size - len(data))
            if not part:
                raise WireError("the broker closed the connection")
            data += part
        return data

    def topics(self):
        """{name: [partition, ...]} of every topic that is not internal."""
        r = self.ask(METADATA, 1, struct.pack(">i", -1))
        r.array(lambda: (r.take("i"), r.string(), r.take("i"), r.string()))  # brokers
        r.take("i")  # controller
        found = {}

        def topic():
            _, name, internal = r.take("h"), r.string(), r.take("b")
            parts = r.array(lambda: (r.take("hii"), r.array(lambda: r.take("i")), r.array(lambda: r.take("i"))))
            if not internal:
                found[name] = sorted(part[0][1] for part in parts)

        r.array(topic)
        return found

    def leaders(self, name):
        """{partition: node} of the partitions that have a leader."""
        r = self.ask(METADATA, 1, array([string(name)]))
        r.array(lambda: (r.take("i"), r.string(), r.take("i"), r.string()))  # brokers
        r.take("i")  # controller
        found = {}

        def partition():
            _, index, leader = r.take("hii")
            r.array(lambda: r.take("i"))
            r.array(lambda: r.take("i"))
            if leader >= 0:
                found[index] = leader

        r.array(lambda: (r.take("h"), r.string(), r.take("b"), r.array(partition)))
        return found

    def create_topic(self, name, partitions=1, config=None, exist_ok=False, copies=1):
        settings = array(string(k) + string(str(v)) for k, v in (config or {}).items())
        topic = string(name) + struct.pack(">ih", partitions, copies) + array([]) + settings
        r = self.ask(CREATE_TOPICS, 2, array([topic]) + struct.pack(">ib", 10000, 0))
        r.take("i")
        for _, code, message in r.array(lambda: (r.string(), r.take("h"), r.string())):
            if code and not (code == 36 and exist_ok):
                raise WireError(f"create topic {name}: {message}", code)
        if copies == 1:
            self.settle(lambda: sum(1 for _ in self.end_offsets(name)) == partitions)
        else:
            self.settle(lambda: len(self.leaders(name)) == partitions)

    def delete_topic(self, name):
        r = self.ask(DELETE_TOPICS, 1, array([string(name)]) + struct.pack(">i", 10000))
        r.take("i")
        for _, code in r.array(lambda: (r.string(), r.take("h"))):
            if code:
                raise WireError(f"delete topic {name}", code)
        self.settle(lambda: name not in self.topics())

    @staticmethod
    def settle(is_known, deadline=15):
        """The broker answers a change before each of its parts knows of it: waits for that."""
        end = time.monotonic() + deadline
        while time.monotonic() < end:
            try:
                if is_known():
                    return
            except WireError:
                pass  # not known yet
            time.sleep(0.02)
        raise WireError(f"a change of topics is not known after {deadline} s")

    def add_partitions(self, name, count):
        """Lets a topic have `count` partitions in all."""
        body = string(name) + struct.pack(">ii", count, -1)
        r = self.ask(CREATE_PARTITIONS, 0, array([body]) + struct.pack(">ib", 10000, 0))
        r.take("i")
        for _, code, message in r.array(lambda: (r.string(), r.take("h"), r.string())):
            if code:
                raise WireError(f"add partitions to {name}: {message}", code)
        self.settle(lambda: sum(1 for _ in self.end_offsets(name)) == count)

    def delete_records(self, name, before):
        """Deletes what lies before these offsets, {partition: offset}, as retention does."""
        parts = array(struct.pack(">iq", index, offset) for index, offset in before.items())
        r = self.ask(DELETE_RECORDS, 0, array([string(name) + parts]) + struct.pack(">i", 10000))
        r.take("i")
        for _, answers in r.array(lambda: (r.string(), r.array(lambda: r.take("iqh")))):
            for index, _, code in answers:
                if code:
                    raise WireError(f"delete records of {name} partition {index}", code)

    def set_topic_config(self, name, **config):
        """set_topic_config("t", max_message_bytes=2000): underscores stand for dots."""
        entries = array(string(k.replace("_", ".")) + b"\0" + string(str(v)) for k, v in config.items())
        r = self.ask(ALTER_CONFIGS, 0, array([b"\2" + string(name) + entries]) + b"\0")
        r.take("i")
        for code, message, _, _ in r.array(lambda: (r.take("h"), r.string(), r.take("b"), r.string())):
            if code:
                raise WireError(f"alter {name}: {message}", code)

    def topic_config(self, name):
        """{setting: value}, the broker's defaults included."""
        r = self.ask(DESCRIBE_CONFIGS, 1, array([b"\2" + string(name) + struct.pack(">i", -1)]) + b"\0")
        r.take("i")

        def setting():
            key, value = r.string(), r.string()
            for form in "bbb":
                r.take(form)
            r.array(lambda: (r.string(), r.string(), r.take("b")))
            return key, value

        def resource():
            code, message, _, _ = r.take("h"), r.string(), r.take("b"), r.string()
            if code:
                raise WireError(f"settings of {name}: {message}", code)
            return dict(r.array(setting))

        return r.array(resource)[0]

    def end_offsets(self, topic, at=-1, isolation=0):
        """{partition: offset after the last record}; at=-2 gives the first one kept; isolation=1 that of an open
        transaction, if there is one. Waits for a broker that has just started and leads nothing yet."""
        end = time.monotonic() + 30
        while True:
            try:
                return self.list_offsets(topic, at, isolation)
            except WireError as error:
                if error.code not in LEADERLESS or time.monotonic() > end:
                    raise
            time.sleep(0.1)

    def list_offsets(self, topic, at, isolation):
        parts = self.topics().get(topic)
        if parts is None:
            raise WireError(f"no topic {topic}")
        body = string(topic) + array(struct.pack(">iq", p, at) for p in parts)
        r = self.ask(LIST_OFFSETS, 2, struct.pack(">ib", -1, isolation) + array([body]))
        r.take("i")
        found = {}

        def partition():
            index, code, _, offset = r.take("ihqq")
            if code:
                raise WireError(f"offsets of {topic}", code)
            found[index] = offset

        r.array(lambda: (r.string(), r.array(partition)))
        return found

    def count(self, topic):
        """Records kept in a topic (without transactions or compaction)."""
        if topic not in self.topics():
            return 0
        return sum(self.end_offsets(topic).values()) - sum(self.end_offsets(topic, -2).values())

    def committed(self, group, topic):
        """{partition: (next offset, metadata)}; offset -1 where the group has none."""
        r = self.ask(FIND_COORDINATOR, 0, string(group))
        if r.take("h") != 0:
            return {}
        parts = self.topics().get(topic, [])
        body = array([string(topic) + array(struct.pack(">i", p) for p in parts)])
        r = self.ask(OFFSET_FETCH, 1, string(group) + body)
        found = {}

        def partition():
            index, offset, metadata, code = r.take("i"), r.take("q"), r.string(), r.take("h")
            if code in NOT_READY:
                return
            if code:
                raise WireError(f"offsets of group {group}", code)
            found[index] = (offset, metadata)

        r.array(lambda: (r.string(), r.array(partition)))
        return found

    def commit(self, group, topic, offsets):
        """Commits {partition: (next offset, metadata)} for a group that has no members."""
        parts = array(struct.pack(">iq", index, offset) + string(metadata)
                      for index, (offset, metadata) in offsets.items())
        body = string(group) + struct.pack(">i", -1) + string("") + struct.pack(">q", -1)
        r = self.ask(OFFSET_COMMIT, 2, body + array([string(topic) + parts]))
        for _, answers in r.array(lambda: (r.string(), r.array(lambda: r.take("ih")))):
            for index, code in answers:
                if code:
                    raise WireError(f"commit {topic} partition {index} for {group}", code)

    def lag(self, group, topic):
        """Records of the topic that the group has not finished; all of them when it never committed."""
        done, first = self.committed(group, topic), self.end_offsets(topic, -2)
        total = 0
        for part, end in self.end_offsets(topic).items():
            offset = done.get(part, (-1, None))[0]
            total += end - (offset if offset >= 0 else first[part])
        return total

    def groups(self):
        r = self.ask(LIST_GROUPS, 1, b"")
        r.take("ih")
        return sorted(group for group, _ in r.array(lambda: (r.string(), r.string())))

    def group_state(self, group):
        """("Stable", number of members)"""
        r = self.ask(DESCRIBE_GROUPS, 0, array([string(group)]))
        r.take("i")
        _, _, state, _, _ = r.take("h"), r.string(), r.string(), r.string(), r.string()
        members = r.array(lambda: (r.string(), r.string(), r.string(), r.blob(), r.blob()))
        return state, len(members)
