"""Topics and rights on the brokers, made from the contract's table; blocks, so call it in a thread."""

import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

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
    OffsetSpec,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
    UserScramCredentialUpsertion,
)
from kafka.errors import KafkaError, NoError

from schemas.wire.topic import Topic
from services.runtime.errors import Unavailable

MECHANISM: Final = "SCRAM-SHA-512"
ITERATIONS: Final = 8192
CONNECTED_WITHIN_MS: Final = 10_000
APPLIED_WITHIN_SECONDS: Final = 20.0
POLL_SECONDS: Final = 0.02
CLUSTER_SETTINGS: Final = {"min.insync.replicas": "2", "unclean.leader.election.enable": "false"}

Kind = Literal[
    "topic_missing",
    "topic_unknown",
    "partitions",
    "setting",
    "right_missing",
    "right_unknown",
    "user_missing",
]
NOT_APPLIED: Final = ("partitions", "topic_unknown")
"""A keyed topic never gets more partitions (make a new version), and records are never deleted from here."""


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """One literal permission of one user."""

    user: str
    operation: str
    resource: str
    name: str
    shape: str = "LITERAL"
    permission: str = "ALLOW"
    host: str = "*"

    def __str__(self) -> str:
        extra = "" if (self.shape, self.permission, self.host) == ("LITERAL", "ALLOW", "*") else (
            f" ({self.shape}, {self.permission}, host {self.host})"
        )  # fmt: skip
        return f"{self.user}: {self.operation} on {self.resource.lower()} {self.name}{extra}"


@dataclass(frozen=True, slots=True)
class WantedTopic:
    """A topic as it must be on the brokers."""

    partitions: int
    replicas: int
    settings: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Desired:
    """Everything that the table asks of a cluster."""

    namespace: str
    topics: Mapping[str, WantedTopic]
    rights: frozenset[Right]
    users: frozenset[str]


@dataclass(frozen=True, slots=True, order=True)
class Difference:
    """One thing on the cluster that is not as the table says."""

    kind: Kind
    subject: str
    wanted: str = ""
    found: str = ""
    right: Right | None = None

    def __str__(self) -> str:
        states = f": wanted {self.wanted or 'nothing'}, found {self.found or 'nothing'}"
        return f"{self.kind} {self.subject}{states if self.wanted or self.found else ''}"


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


def desired(topics: Iterable[Topic], services: Sequence[str], namespace: str, *, local: bool) -> Desired:
    """What a cluster must have; `services` are those that get a user."""
    topics = tuple(topics)
    return Desired(
        namespace,
        {topic.name(namespace): _wanted(topic, local=local) for topic in topics},
        frozenset(right for topic in topics for right in _rights(topic, namespace)),
        frozenset(services),
    )


def _wanted(topic: Topic, *, local: bool) -> WantedTopic:
    if local:
        return WantedTopic(topic.partitions_local, 1, dict(topic.settings()))
    return WantedTopic(topic.partitions, 3, {**topic.settings(), **CLUSTER_SETTINGS})


def _rights(topic: Topic, namespace: str) -> Iterable[Right]:
    name = topic.name(namespace)
    yield from (Right(topic.writer, operation, "TOPIC", name) for operation in ("WRITE", "DESCRIBE"))
    for reader in topic.readers:
        yield from (Right(reader, operation, "TOPIC", name) for operation in ("READ", "DESCRIBE"))
        yield Right(reader, "READ", "GROUP", f"{namespace}{reader}")


def plan(admin: KafkaAdminClient, wanted: Desired) -> list[Difference]:
    """Every difference between the cluster and the table; empty when nothing is to be done."""
    found = {topic["name"]: len(topic["partitions"]) for topic in admin.describe_topics()}
    settings = _settings(admin, wanted, sorted(found.keys() & wanted.topics.keys()))
    return sorted(
        [
            *_topic_differences(found, wanted),
            *_setting_differences(settings, wanted),
            *_right_differences(_found_rights(admin, wanted.namespace), wanted),
            *(Difference("user_missing", user) for user in wanted.users - _found_users(admin)),
        ],
        key=str,
    )


def _topic_differences(found: Mapping[str, int], wanted: Desired) -> Iterable[Difference]:
    for name, topic in wanted.topics.items():
        if name not in found:
            yield Difference("topic_missing", name)
        elif found[name] != topic.partitions:
            yield Difference("partitions", name, str(topic.partitions), str(found[name]))
    for name in found.keys() - wanted.topics.keys():
        if name.startswith(f"{wanted.namespace}concert."):
            yield Difference("topic_unknown", name)


def _setting_differences(found: Mapping[str, Mapping[str, str]], wanted: Desired) -> Iterable[Difference]:
    for name, settings in found.items():
        asked = wanted.topics[name].settings
        for key in asked.keys() | settings.keys():
            if asked.get(key) != settings.get(key):
                yield Difference("setting", f"{name} {key}", asked.get(key, ""), settings.get(key, ""))


def _right_differences(found: frozenset[Right], wanted: Desired) -> Iterable[Difference]:
    yield from (Difference("right_missing", str(right), right=right) for right in wanted.rights - found)
    yield from (Difference("right_unknown", str(right), right=right) for right in found - wanted.rights)


def _settings(admin: KafkaAdminClient, wanted: Desired, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """What a topic states itself, and what is in force of all that is wanted: a broker's default counts."""
    if not names:
        return {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    described = admin.describe_configs(resources, config_filter="all")["topic"]
    return {
        name: {
            key: entry["value"]
            for key, entry in described[name].items()
            if entry["config_source"] == "DYNAMIC_TOPIC_CONFIG" or key in wanted.topics[name].settings
        }
        for name in names
    }


def _found_rights(admin: KafkaAdminClient, namespace: str) -> frozenset[Right]:
    """Every permission of the cluster, or with a namespace those inside it."""
    anything = ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY)
    every = ACLFilter(None, None, ACLOperation.ANY, ACLPermissionType.ANY, anything)
    found, error = admin.describe_acls(every)
    if error is not NoError:
        raise error
    return frozenset(
        _right_of(acl) for acl in found if acl.resource_pattern.resource_name.startswith(namespace)
    )  # fmt: skip


def _right_of(acl: ACL) -> Right:
    pattern = acl.resource_pattern
    return Right(
        acl.principal.removeprefix("User:"),
        acl.operation.name,
        pattern.resource_type.name,
        pattern.resource_name,
        pattern.pattern_type.name,
        acl.permission_type.name,
        acl.host,
    )


def _found_users(admin: KafkaAdminClient) -> frozenset[str]:
    described = admin.describe_user_scram_credentials()
    return frozenset(user for user, told in described.items() if told["credential_infos"])


def apply(
    admin: KafkaAdminClient, wanted: Desired, password_of: Callable[[str], str]
) -> tuple[list[Difference], list[Difference]]:
    """Makes the cluster as the table says; what was changed, and what is left for people."""
    before = plan(admin, wanted)
    _create_topics(admin, wanted, [each.subject for each in before if each.kind == "topic_missing"])
    _change_settings(admin, [each for each in before if each.kind == "setting"])
    _grant(admin, [each.right for each in before if each.kind == "right_missing" and each.right])
    _revoke(admin, [each.right for each in before if each.kind == "right_unknown" and each.right])
    _create_users(admin, [each.subject for each in before if each.kind == "user_missing"], password_of)
    left = _wait_until_applied(admin, wanted) if before else []
    return [each for each in before if each.kind not in NOT_APPLIED], left


def _wait_until_applied(admin: KafkaAdminClient, wanted: Desired) -> list[Difference]:
    """Brokers learn of a change a moment after the controller has accepted it."""
    ends_at = time.monotonic() + APPLIED_WITHIN_SECONDS
    while True:
        left = plan(admin, wanted)
        if all(each.kind in NOT_APPLIED for each in left):
            return left
        if time.monotonic() > ends_at:
            raise Unavailable(f"the brokers did not take over {len(left)} changes, the first: {left[0]}")
        time.sleep(POLL_SECONDS)


def _create_topics(admin: KafkaAdminClient, wanted: Desired, names: Sequence[str]) -> None:
    if not names:
        return
    asked = {
        name: {
            "num_partitions": wanted.topics[name].partitions,
            "replication_factor": wanted.topics[name].replicas,
            "configs": dict(wanted.topics[name].settings),
        }
        for name in names
    }
    admin.create_topics(asked, wait_for_metadata=True)


def _change_settings(admin: KafkaAdminClient, differences: Sequence[Difference]) -> None:
    for each in differences:
        name, key = each.subject.split(" ")
        change = admin.alter_configs if each.wanted else admin.reset_configs
        result = change([ConfigResource(ConfigResourceType.TOPIC, name, {key: each.wanted or None})])
        if result["topic"][name] != "OK":
            raise Unavailable(f"the brokers refused the setting {key} of {name}")


def _grant(admin: KafkaAdminClient, rights: Sequence[Right]) -> None:
    if not rights:
        return
    result = admin.create_acls([acl_of(right) for right in rights])
    # The library does not raise when the brokers refuse.
    if result["failed"] or len(result["succeeded"]) != len(rights):
        raise Unavailable(f"the brokers refused {len(result['failed'])} of {len(rights)} permissions")


def _revoke(admin: KafkaAdminClient, rights: Sequence[Right]) -> None:
    if not rights:
        return
    for _, gone, error in admin.delete_acls([filter_of(right) for right in rights]):
        if error is not NoError or len(gone) != 1:
            raise Unavailable("the brokers refused to take a permission away")


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


def acl_of(right: Right) -> ACL:
    """The library's form of a right."""
    pattern = ResourcePattern(
        ResourceType[right.resource], right.name, ACLResourcePatternType[right.shape]
    )  # fmt: skip
    return ACL(
        f"User:{right.user}",
        right.host,
        ACLOperation[right.operation],
        ACLPermissionType[right.permission],
        pattern,
    )


def filter_of(right: Right) -> ACLFilter:
    """The library's question for exactly this right."""
    acl = acl_of(right)
    return ACLFilter(acl.principal, acl.host, acl.operation, acl.permission_type, acl.resource_pattern)


def topic_ids(admin: KafkaAdminClient, names: Sequence[str]) -> dict[str, uuid.UUID]:
    """The ids that brokers gave these topics; a topic made anew under an old name has another one."""
    return {
        topic["name"]: uuid.UUID(str(topic["topic_id"]))
        for topic in admin.describe_topics(list(names))
        if topic["error_code"] == 0
    }


def ends(admin: KafkaAdminClient, names: Sequence[str]) -> dict[tuple[str, int], tuple[int, int]]:
    """First and next offset of each partition of these topics."""
    partitions = [
        TopicPartition(topic["name"], partition["partition_index"])
        for topic in admin.describe_topics(list(names))
        for partition in topic["partitions"]
    ]
    first = admin.list_partition_offsets(dict.fromkeys(partitions, OffsetSpec.EARLIEST))
    after = admin.list_partition_offsets(dict.fromkeys(partitions, OffsetSpec.LATEST))
    return {(each.topic, each.partition): (first[each].offset, after[each].offset) for each in partitions}
