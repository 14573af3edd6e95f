"""Topics, rights and users on the brokers, made from a table of topics; blocks, so call it in a thread."""

import socket
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kafka import TopicPartition
from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ConfigResource,
    ConfigResourceType,
    KafkaAdminClient,
    MemberToRemove,
    OffsetSpec,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
    UserScramCredentialUpsertion,
)
from kafka.errors import GroupIdNotFoundError, KafkaError, NoError
from kafka.net.inet import KafkaNetSocket

from schemas.wire.topic import Topic, ViewTopics
from services.runtime.errors import Unavailable

MECHANISM: Final = "SCRAM-SHA-512"
ITERATIONS: Final = 8192
CONNECTED_WITHIN_MS: Final = 10_000
APPLIED_WITHIN_SECONDS: Final = 20.0
POLL_SECONDS: Final = 0.02
CLUSTER: Final = "kafka-cluster"
"""The brokers' own name for themselves, as a resource of rights."""
CLUSTER_SETTINGS: Final = {"min.insync.replicas": "2", "unclean.leader.election.enable": "false"}

FAILURES: Final = (KafkaError, Unavailable, OSError)
"""What an administrator's connection can raise."""
NOT_APPLIED: Final = ("partitions", "topic_unknown")
"""A keyed topic never gets more partitions (make a new version), and records are never deleted from here."""


@dataclass(frozen=True, slots=True)
class Topology:
    """Everything that the table asks of a cluster."""

    namespace: str
    topics: Mapping[str, Topic]
    """By their names on the brokers."""
    rights: frozenset[ACL]
    users: frozenset[str]
    is_local: bool
    """One broker: a replica of everything, and fewer partitions."""

    def partitions(self, name: str) -> int:
        """How many partitions a topic must have."""
        topic = self.topics[name]
        return topic.partitions_local if self.is_local else topic.partitions

    def settings(self, name: str) -> Mapping[str, str]:
        """What a topic must state."""
        return {**self.topics[name].settings(), **({} if self.is_local else CLUSTER_SETTINGS)}


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing on the cluster that is not as the table says."""

    kind: str
    subject: str
    wanted: str = ""
    found: str = ""
    right: ACL | None = None

    def __str__(self) -> str:
        states = f": wanted {self.wanted or 'nothing'}, found {self.found or 'nothing'}"
        return f"{self.kind} {self.subject}{states if self.wanted or self.found else ''}"


class _Sockets(KafkaNetSocket):  # type: ignore[misc]  # the library has no types
    """Closes the socket of a connection that does not come about, which the library leaves open."""

    SCHEMES = ("direct",)

    async def sock_connect(self, net: Any, sock: socket.socket, *where: Any, **until: Any) -> socket.socket:
        try:
            return await super().sock_connect(net, sock, *where, **until)  # type: ignore[no-any-return]
        except BaseException:  # GeneratorExit too: the client is closed while it connects
            sock.close()
            raise


class _Admin(KafkaAdminClient):  # type: ignore[misc]  # the library has no types
    """Closes its thread when it cannot connect, which the library leaves running."""

    def __init__(self, **settings: object) -> None:
        try:
            super().__init__(**settings)
        except BaseException:
            self._client.close()
            self._net.stop()
            raise


def connect(
    bootstrap: str, user: str, password: str, within_ms: int = CONNECTED_WITHIN_MS
) -> KafkaAdminClient:
    """A connection; `Unavailable` for a wrong password too, which the library does not tell apart."""
    try:
        return _Admin(
            bootstrap_servers=bootstrap,
            security_protocol="SASL_PLAINTEXT",
            sasl_mechanism=MECHANISM,
            sasl_plain_username=user,
            sasl_plain_password=password,
            bootstrap_timeout_ms=within_ms,
            proxy_url=f"{_Sockets.SCHEMES[0]}://",  # no proxy: by its name the library takes these sockets
        )
    except KafkaError as error:
        raise Unavailable("the brokers do not answer, or refuse this user") from error


def answers(bootstrap: str, user: str, password: str) -> bool:
    """Whether the brokers let this user in and tell about the cluster."""
    try:
        with connect(bootstrap, user, password, within_ms=2_000) as admin:
            admin.list_topics()
    except (Unavailable, KafkaError):
        return False
    return True


def topology(
    topics: Iterable[Topic],
    services: Sequence[str],
    namespace: str,
    *,
    local: bool,
    views: Sequence[ViewTopics] = (),
    onlookers: Sequence[str] = (),
) -> Topology:
    """What a cluster must have; `services` and views get a user, `onlookers` may describe all."""
    by_name = {topic.name(namespace): topic for topic in topics}
    rights = {one for name, topic in by_name.items() for one in _rights(topic, name, namespace)}
    for view in views:
        by_name |= {changelog.name(namespace): changelog for changelog in view.changelogs}
        rights |= set(_view_rights(view, namespace))
    seen = {(one.resource_pattern.resource_type.name, one.resource_pattern.resource_name) for one in rights}
    for user in onlookers:
        rights |= {right(user, "DESCRIBE", *one) for one in (*seen, ("CLUSTER", CLUSTER))}
    users = frozenset((*services, *(view.user for view in views)))
    return Topology(namespace, by_name, frozenset(rights), users, local)


def right(user: str, operation: str, resource: str, name: str) -> ACL:
    """One literal permission of one user."""
    pattern = ResourcePattern(ResourceType[resource], name, ACLResourcePatternType.LITERAL)
    return ACL(f"User:{user}", "*", ACLOperation[operation], ACLPermissionType.ALLOW, pattern)


def _rights(topic: Topic, name: str, namespace: str) -> Iterator[ACL]:
    for user, operation in ((topic.writer, "WRITE"), *((reader, "READ") for reader in topic.readers)):
        yield right(user, operation, "TOPIC", name)
        yield right(user, "DESCRIBE", "TOPIC", name)
    for reader in topic.readers:
        yield right(reader, "READ", "GROUP", f"{namespace}{reader}")


def _view_rights(view: ViewTopics, namespace: str) -> Iterator[ACL]:
    yield right(view.user, "READ", "GROUP", view.group(namespace))
    for topic, operations in ((view.source, "READ"), *((one, "READ WRITE") for one in view.changelogs)):
        for operation in (*operations.split(), "DESCRIBE"):
            yield right(view.user, operation, "TOPIC", topic.name(namespace))


def plan(admin: KafkaAdminClient, wanted: Topology) -> list[Difference]:
    """Every difference between the cluster and the table; empty when nothing is to be done."""
    rights, credentials = _found_rights(admin, wanted), admin.describe_user_scram_credentials()
    users = {user for user, told in credentials.items() if told["credential_infos"]}
    return sorted(
        [
            *_topic_differences(admin, wanted),
            *(Difference("right_missing", _told(one), right=one) for one in wanted.rights - rights),
            *(Difference("right_unknown", _told(one), right=one) for one in rights - wanted.rights),
            *(Difference("user_missing", user) for user in wanted.users - users),
        ],
        key=str,
    )


def apply(
    admin: KafkaAdminClient, wanted: Topology, password_of: Callable[[str], str]
) -> tuple[list[Difference], list[Difference]]:
    """Makes the cluster as the table says; what was changed, and what is left for people."""
    before = plan(admin, wanted)

    def of(kind: str) -> list[Difference]:
        return [each for each in before if each.kind == kind]

    if missing := of("topic_missing"):
        _create_topics(admin, [each.subject for each in missing], wanted)
    for each in of("setting"):
        _change_setting(admin, each)
    if missing := of("right_missing"):
        result = admin.create_acls([each.right for each in missing])
        # The library does not raise when the brokers refuse.
        if result["failed"] or len(result["succeeded"]) != len(missing):
            raise Unavailable(f"the brokers refused {len(result['failed'])} of {len(missing)} permissions")
    if unknown := of("right_unknown"):
        for _, gone, error in admin.delete_acls([exactly(each.right) for each in unknown]):
            if error is not NoError or len(gone) != 1:
                raise Unavailable("the brokers refused to take a permission away")
    _create_users(admin, [each.subject for each in of("user_missing")], password_of)
    left = _wait_until_applied(admin, wanted) if before else []
    return [each for each in before if each.kind not in NOT_APPLIED], left


def exactly(acl: ACL) -> ACLFilter:
    """The library's question for exactly this right."""
    return ACLFilter(acl.principal, acl.host, acl.operation, acl.permission_type, acl.resource_pattern)


def reset_view(admin: KafkaAdminClient, view: ViewTopics, wanted: Topology) -> None:
    """Empty a view's tables and let it read from the beginning; its process must not run meanwhile."""
    group, names = view.group(wanted.namespace), [one.name(wanted.namespace) for one in view.changelogs]
    # A static member stays on after its process, until its session ends.
    admin.remove_group_members(group, [MemberToRemove(group_instance_id=view.member)])
    if admin.delete_groups([group])[group] not in ("OK", GroupIdNotFoundError.__name__):
        raise Unavailable("the brokers keep the view's group; see whether another process is in it")
    found = set(admin.list_topics())
    if gone := [name for name in names if name in found]:
        admin.delete_topics(gone)
    ends_at = time.monotonic() + APPLIED_WITHIN_SECONDS
    while found.intersection(names):
        if time.monotonic() > ends_at:
            raise Unavailable("the brokers did not delete the view's tables; try again")
        time.sleep(POLL_SECONDS)
        found = set(admin.list_topics())
    _create_topics(admin, names, wanted)


def remove_members(admin: KafkaAdminClient, group: str, beginning: str) -> None:
    """Takes static members out of a group, by the beginning of their ids: they do not leave by themselves."""
    [found] = admin.describe_groups([group]).values()
    ids = [member["group_instance_id"] or "" for member in found["members"]]
    if gone := [MemberToRemove(group_instance_id=one) for one in ids if one.startswith(beginning)]:
        admin.remove_group_members(group, gone)


def topic_ids(admin: KafkaAdminClient, names: Sequence[str]) -> dict[str, uuid.UUID]:
    """The ids that brokers gave these topics; a topic made anew under an old name has another one."""
    return {
        topic["name"]: uuid.UUID(str(topic["topic_id"]))
        for topic in admin.describe_topics(list(names))
        if topic["error_code"] == 0
    }


def ends(admin: KafkaAdminClient, names: Sequence[str]) -> dict[tuple[str, int], int]:
    """The next offset of each partition of these topics."""
    partitions = [
        TopicPartition(topic["name"], partition["partition_index"])
        for topic in admin.describe_topics(list(names))
        for partition in topic["partitions"]
    ]
    following = admin.list_partition_offsets(dict.fromkeys(partitions, OffsetSpec.LATEST))
    return {(each.topic, each.partition): found.offset for each, found in following.items()}


def positions(admin: KafkaAdminClient, group: str) -> dict[tuple[str, int], int]:
    """Where a group goes on, as it has told the brokers."""
    found = admin.list_group_offsets([group])[group]
    return {(each.topic, each.partition): told.offset for each, told in found.items() if told.offset >= 0}


# what the cluster has


def _topic_differences(admin: KafkaAdminClient, wanted: Topology) -> Iterator[Difference]:
    found = {topic["name"]: len(topic["partitions"]) for topic in admin.describe_topics()}
    for name in found.keys() - wanted.topics.keys():
        if name.startswith(f"{wanted.namespace}concert."):
            yield Difference("topic_unknown", name)
    for name in wanted.topics.keys() - found.keys():
        yield Difference("topic_missing", name)
    both = sorted(found.keys() & wanted.topics.keys())
    for name in both:
        if found[name] != wanted.partitions(name):
            yield Difference("partitions", name, str(wanted.partitions(name)), str(found[name]))
    for name, stated in _found_settings(admin, wanted, both).items():
        asked = wanted.settings(name)
        for key in asked.keys() | stated.keys():
            if asked.get(key) != stated.get(key):
                yield Difference("setting", f"{name} {key}", asked.get(key, ""), stated.get(key, ""))


def _found_settings(
    admin: KafkaAdminClient, wanted: Topology, names: Sequence[str]
) -> dict[str, dict[str, str]]:
    """What a topic states itself, and what is in force of all that is wanted: a broker's default counts."""
    if not names:
        return {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    described = admin.describe_configs(resources, config_filter="all")["topic"]
    return {
        name: {
            key: entry["value"]
            for key, entry in described[name].items()
            if entry["config_source"] == "DYNAMIC_TOPIC_CONFIG" or key in wanted.settings(name)
        }
        for name in names
    }


def _found_rights(admin: KafkaAdminClient, wanted: Topology) -> frozenset[ACL]:
    """Every permission of the cluster, or with a namespace those inside it and all that are wanted."""
    anything = ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY)
    found, error = admin.describe_acls(
        ACLFilter(None, None, ACLOperation.ANY, ACLPermissionType.ANY, anything)
    )
    if error is not NoError:
        raise error
    inside = (one for one in found if one.resource_pattern.resource_name.startswith(wanted.namespace))
    return frozenset(inside) | wanted.rights.intersection(found)


def _told(acl: ACL) -> str:
    pattern, user = acl.resource_pattern, acl.principal.removeprefix("User:")
    unusual = (pattern.pattern_type.name, acl.permission_type.name, f"host {acl.host}")
    extra = "" if unusual == ("LITERAL", "ALLOW", "host *") else f" ({', '.join(unusual)})"
    resource = f"{pattern.resource_type.name.lower()} {pattern.resource_name}"
    return f"{user}: {acl.operation.name} on {resource}{extra}"


# what is changed


def _create_topics(admin: KafkaAdminClient, names: Sequence[str], wanted: Topology) -> None:
    asked = {
        name: {
            "num_partitions": wanted.partitions(name),
            "replication_factor": 1 if wanted.is_local else 3,
            "configs": dict(wanted.settings(name)),
        }
        for name in names
    }
    admin.create_topics(asked, wait_for_metadata=True)


def _change_setting(admin: KafkaAdminClient, each: Difference) -> None:
    name, key = each.subject.split(" ")
    change = admin.alter_configs if each.wanted else admin.reset_configs
    result = change([ConfigResource(ConfigResourceType.TOPIC, name, {key: each.wanted or None})])
    if result["topic"][name] != "OK":
        raise Unavailable(f"the brokers refused the setting {key} of {name}")


def _create_users(admin: KafkaAdminClient, users: Sequence[str], password_of: Callable[[str], str]) -> None:
    if not users:
        return
    asked = [
        UserScramCredentialUpsertion(user, MECHANISM, password_of(user), iterations=ITERATIONS)
        for user in users
    ]
    result = admin.alter_user_scram_credentials(asked)
    refused = sorted(user for user in users if result.get(user, "no answer") is not None)
    if refused:
        raise Unavailable(f"the brokers refused the users {', '.join(refused)}")


def _wait_until_applied(admin: KafkaAdminClient, wanted: Topology) -> list[Difference]:
    """Brokers learn of a change a moment after the controller has accepted it."""
    ends_at = time.monotonic() + APPLIED_WITHIN_SECONDS
    while True:
        left = plan(admin, wanted)
        if all(each.kind in NOT_APPLIED for each in left):
            return left
        if time.monotonic() > ends_at:
            raise Unavailable(f"the brokers did not take over {len(left)} changes, the first: {left[0]}")
        time.sleep(POLL_SECONDS)
