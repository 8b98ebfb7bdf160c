//! What each program does with Redis, for access control lists: commands and the keys that they touch.
//!
//! A script is let run on any key, because what it does there is checked command by command. So the lists
//! here are those of the scripts' own calls, and of the plain commands beside them.

/// A program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Component {
    /// The server.
    Server,
    /// The reader.
    Reader,
    /// The worker.
    Worker,
}

/// Commands on keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// What keys look like.
    pub keys: &'static [&'static str],
    /// The commands.
    pub commands: &'static [&'static str],
}

/// Commands that touch no key of their own: every program needs them. The last ones are those of a client of
/// Sentinel and of Redis Cluster.
pub const PLAIN: &[&str] = &[
    "ping",
    "select",
    "info",
    "time",
    "eval",
    "evalsha",
    "role",
    "asking",
    "cluster|slots",
];

const fn grant(keys: &'static [&'static str], commands: &'static [&'static str]) -> Grant {
    Grant { keys, commands }
}

/// Runs that have not ended, the rate, and who holds a name: whoever enters or leaves a job.
const PROJECT: [Grant; 3] = [
    grant(
        &["{ix:*}:active"],
        &[
            "zadd",
            "zcard",
            "zrange",
            "zrem",
            "zremrangebyscore",
            "zrevrange",
            "zscore",
            "pexpireat",
            "pttl",
        ],
    ),
    grant(&["{ix:*}:rate"], &["get", "set"]),
    grant(
        &["{ix:*}:holders:*"],
        &["hdel", "hget", "hgetall", "hset", "pexpireat", "pttl"],
    ),
];

/// A project's jobs, in order.
const INDEX: Grant = grant(
    &["{ix:*}", "{ix:*}:over"],
    &[
        "zadd",
        "zrangebylex",
        "zrangebyscore",
        "zrem",
        "zrevrange",
        "zrevrangebylex",
        "zscore",
        "pexpireat",
    ],
);

/// Records: the server writes them ahead of the reader.
const RECORDS: Grant = grant(
    &["{p*}:job:*"],
    &["del", "exists", "hmget", "hset", "pexpireat"],
);

const HISTORIES: Grant = grant(
    &["{p*}:hist:*"],
    &[
        "del",
        "hdel",
        "hgetall",
        "hkeys",
        "hlen",
        "hsetnx",
        "pexpireat",
    ],
);

const CLAIMS: Grant = grant(&["claim:*"], &["get", "set"]);

const SERVER: [Grant; 7] = [
    grant(&["{p*}:position"], &["hget", "hgetall"]),
    RECORDS,
    HISTORIES,
    grant(&["{p*}:lines:*"], &["del", "hgetall", "pexpireat"]),
    grant(
        &["{p*}:live", "{p*}:dead", "{p*}:heard", "{p*}:ended"],
        &[
            "zadd",
            "zrem",
            "zremrangebyrank",
            "zremrangebyscore",
            "zrevrangebyscore",
            "zscore",
        ],
    ),
    grant(&["{p*}:line:*"], &["hgetall"]),
    CLAIMS,
];

const WORKER: [Grant; 3] = [
    grant(&["{p*}:position"], &["hgetall"]),
    grant(&["{p*}:job:*"], &["hmget"]),
    grant(&["{p*}:run:*"], &["get", "set"]),
];

const READER: [Grant; 11] = [
    grant(
        &["{p*}:position"],
        &["hdel", "hget", "hgetall", "hmget", "hset", "hsetnx"],
    ),
    RECORDS,
    HISTORIES,
    grant(
        &["{p*}:lines:*"],
        &[
            "del",
            "hdel",
            "hget",
            "hincrby",
            "hkeys",
            "hlen",
            "hset",
            "hsetnx",
            "hstrlen",
            "pexpireat",
        ],
    ),
    grant(
        &[
            "{p*}:live",
            "{p*}:dead",
            "{p*}:heard",
            "{p*}:ended",
            "{p*}:past",
        ],
        &[
            "zadd",
            "zcard",
            "zrangebyscore",
            "zrem",
            "zremrangebyrank",
            "zremrangebyscore",
            "zscore",
        ],
    ),
    grant(
        &["{p*}:line:*"],
        &["hdel", "hget", "hgetall", "hset", "pexpireat", "pttl"],
    ),
    grant(&["{p*}:bad"], &["rpush", "ltrim"]),
    grant(&["{p*}:lease"], &["del", "get", "set"]),
    grant(
        &["readers"],
        &["zadd", "zrange", "zrem", "zremrangebyscore"],
    ),
    grant(
        &["{ix:*}:ended"],
        &["zadd", "zremrangebyscore", "zscore", "pexpire"],
    ),
    CLAIMS,
];

impl Component {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Server, Self::Reader, Self::Worker];

    /// Returns its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Reader => "reader",
            Self::Worker => "worker",
        }
    }

    /// Returns what it does with keys.
    pub fn grants(self) -> Vec<Grant> {
        match self {
            Self::Server => [&SERVER[..], &PROJECT, &[INDEX]].concat(),
            Self::Reader => [&READER[..], &PROJECT, &[INDEX]].concat(),
            Self::Worker => [&WORKER[..], &PROJECT].concat(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// What no program is to have, and what would undo a list.
    const NEVER: [&str; 12] = [
        "flushall",
        "flushdb",
        "config",
        "keys",
        "debug",
        "script",
        "shutdown",
        "acl",
        "module",
        "replicaof",
        "client",
        "swapdb",
    ];

    #[test]
    fn no_program_has_what_ends_or_empties_a_redis() {
        for component in Component::ALL {
            let grants = component.grants();
            let commands = grants.iter().flat_map(|grant| grant.commands).chain(PLAIN);
            for command in commands {
                let (name, _) = command.split_once('|').unwrap_or((command, ""));
                assert!(!NEVER.contains(&name), "{component:?}: {command}");
            }
        }
    }

    #[test]
    fn every_call_of_a_script_is_granted_to_somebody() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/src/redis/lua");
        let granted: BTreeSet<_> = Component::ALL
            .iter()
            .flat_map(|component| component.grants())
            .flat_map(|grant| grant.commands)
            .chain(PLAIN)
            .copied()
            .collect();
        for script in std::fs::read_dir(directory).unwrap() {
            let path = script.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            for call in text.split("redis.call('").skip(1) {
                let (command, _) = call.split_once('\'').unwrap();
                let command = command.to_lowercase();
                assert!(
                    granted.contains(command.as_str()),
                    "{}: {command}",
                    path.display()
                );
            }
        }
    }
}
