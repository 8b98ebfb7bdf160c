//! What each user of the broker may do: one for each program, and one for workers of some kinds alone.
//!
//! Nobody may declare or delete what is shared. Each process declares one queue, its own, whose name
//! begins with that of its program.

use std::collections::BTreeSet;

use vmctl_core::{
    Kind, flow,
    kinds::{KindSpec, Registry},
    topology::{
        EXCHANGE_CONTROL, EXCHANGE_JOBS, EXCHANGE_TICK, QUEUE_EFFECTS, QUEUE_LOG, QUEUE_REPORTS,
        QUEUE_TURN, work_queue,
    },
};

/// Any kind.
const ANY: &str = r"[^.]+\.[^.]+";

/// No name at all.
const NOTHING: &str = "^$";

/// What one user may do. The patterns are the broker's: regular expressions over names and routing keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    /// The user.
    pub user: String,
    /// What it may see and do in the management plugin.
    pub tags: Vec<&'static str>,
    /// What it may declare and delete.
    pub configure: String,
    /// What it may publish to, and bind.
    pub write: String,
    /// What it may consume, and bind to.
    pub read: String,
    /// The routing keys that it may publish with, by exchange.
    pub keys: Vec<(&'static str, String)>,
}

/// A worker that has some kinds only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerUser {
    /// The user.
    pub name: String,
    /// What it works on.
    pub kinds: Vec<Kind>,
    /// What its jobs may ask for besides the steps of flows.
    pub children: Vec<Kind>,
}

impl std::str::FromStr for WorkerUser {
    type Err = String;

    /// Reads `NAME=kind,kind` or `NAME=kind,kind/child,child`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, kinds) = text.split_once('=').ok_or("NAME=KIND,… is wanted")?;
        let (kinds, children) = kinds.split_once('/').unwrap_or((kinds, ""));
        let list = |text: &str| {
            let words = text.split(',').filter(|word| !word.is_empty());
            let read = |word: &str| word.parse().map_err(|error| format!("{word:?}: {error}"));
            words.map(read).collect::<Result<Vec<Kind>, _>>()
        };
        let worker = Self {
            name: name.to_owned(),
            kinds: list(kinds)?,
            children: list(children)?,
        };
        if name.is_empty() || worker.kinds.is_empty() {
            return Err("a name and at least one kind are wanted".to_owned());
        }
        Ok(worker)
    }
}

/// A user for people and autoscalers who look: at the management page, and at how long queues are.
pub fn monitor(user: &str) -> Rights {
    Rights {
        user: user.to_owned(),
        tags: vec!["monitoring"],
        configure: NOTHING.to_owned(),
        write: NOTHING.to_owned(),
        read: NOTHING.to_owned(),
        keys: Vec::new(),
    }
}

/// Returns the rights of all programs' users.
pub fn all(prefix: &str, registry: &Registry, workers: &[WorkerUser]) -> Vec<Rights> {
    let mut all = vec![server(prefix), reader(prefix), worker(prefix)];
    all.extend(workers.iter().map(|user| worker_of(user, registry)));
    all
}

fn server(prefix: &str) -> Rights {
    let own = r"jobs\.tick\.server-.+";
    let commands = commands(ANY);
    Rights {
        user: format!("{prefix}-server"),
        tags: Vec::new(),
        configure: whole(own),
        write: one_of(&[&plain(EXCHANGE_JOBS), &plain(EXCHANGE_CONTROL), own]),
        read: one_of(&[&plain(QUEUE_LOG), &plain(EXCHANGE_TICK), own]),
        keys: vec![(
            EXCHANGE_JOBS,
            one_of(&[
                &commands,
                // A job that is not due yet is cancelled at once.
                &format!(r"event\.{ANY}\.(cancel_requested|cancelled)"),
                r"audit\..+",
                "mark",
            ]),
        )],
    }
}

/// It publishes commands of every kind: turns, jobs that wake, and those whose queue was emptied.
fn reader(prefix: &str) -> Rights {
    let own = r"jobs\.tick\.reader-.+";
    let queues = [
        QUEUE_LOG,
        QUEUE_EFFECTS,
        QUEUE_TURN,
        QUEUE_REPORTS,
        EXCHANGE_TICK,
    ]
    .map(plain);
    let read: Vec<_> = queues.iter().map(String::as_str).chain([own]).collect();
    Rights {
        user: format!("{prefix}-reader"),
        tags: Vec::new(),
        configure: whole(own),
        write: one_of(&[&plain(EXCHANGE_JOBS), own]),
        read: one_of(&read),
        keys: vec![(
            EXCHANGE_JOBS,
            one_of(&[
                &commands(ANY),
                &format!(r"event\.{ANY}\.[a-z_]+"),
                &format!(r"dead\.{ANY}"),
            ]),
        )],
    }
}

fn worker(prefix: &str) -> Rights {
    let work = format!(r"work\.{ANY}");
    worker_with(format!("{prefix}-worker"), ANY, &work, Some(ANY))
}

fn worker_of(user: &WorkerUser, registry: &Registry) -> Rights {
    let kinds: BTreeSet<&Kind> = user.kinds.iter().collect();
    // Its steps are in its input, so any kind may be asked for.
    let any_steps = kinds.iter().any(|kind| kind.as_str() == flow::KIND);
    let specs = kinds.iter().filter_map(|kind| registry.get(kind));
    let steps = specs.flat_map(KindSpec::step_kinds);
    let children: BTreeSet<&Kind> = user.children.iter().chain(steps).collect();
    let children = if any_steps {
        Some(ANY.to_owned())
    } else {
        (!children.is_empty()).then(|| one_kind_of(&children))
    };
    let queues: Vec<_> = kinds.iter().map(|kind| plain(&work_queue(kind))).collect();
    let queues = format!("({})", queues.join("|"));
    worker_with(
        user.name.clone(),
        &one_kind_of(&kinds),
        &queues,
        children.as_deref(),
    )
}

fn worker_with(user: String, kinds: &str, queues: &str, children: Option<&str>) -> Rights {
    let own = r"jobs\.control\.worker-.+";
    let (jobs, tick, control) = (
        plain(EXCHANGE_JOBS),
        plain(EXCHANGE_TICK),
        plain(EXCHANGE_CONTROL),
    );
    let mut write = vec![jobs.as_str(), &tick, own];
    let mut keys = vec![
        commands(kinds),
        format!(r"event\.{kinds}\.(started|succeeded|cancelled|deadline)"),
        format!(r"dead\.{kinds}"),
    ];
    if let Some(children) = children {
        // To ask for a child, and to have it cancelled.
        keys.push(commands(children));
        keys.push(format!(r"event\.{children}\.cancel_requested"));
        write.push(&control);
    }
    let keys: Vec<_> = keys.iter().map(String::as_str).collect();
    Rights {
        user,
        tags: Vec::new(),
        configure: whole(own),
        write: one_of(&write),
        read: one_of(&[queues, &control, own]),
        keys: vec![
            (EXCHANGE_JOBS, one_of(&keys)),
            (
                EXCHANGE_TICK,
                one_of(&[
                    &format!(r"tick\.{kinds}\.(progress|log)"),
                    r"tick\.worker\.alive",
                ]),
            ),
        ],
    }
}

/// The keys of commands: now, in line, and either of them later.
fn commands(kinds: &str) -> String {
    format!(r"(delay\.[^.]+\.)?(job|turn)\.{kinds}")
}

fn one_kind_of(kinds: &BTreeSet<&Kind>) -> String {
    let kinds: Vec<_> = kinds.iter().map(|kind| plain(kind.as_str())).collect();
    format!("({})", kinds.join("|"))
}

/// A name as a pattern: nothing but the dot means anything in names of ours.
fn plain(name: &str) -> String {
    name.replace('.', r"\.")
}

fn whole(pattern: &str) -> String {
    format!("^{pattern}$")
}

fn one_of(patterns: &[&str]) -> String {
    format!("^({})$", patterns.join("|"))
}
