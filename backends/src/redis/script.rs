//! The Lua scripts, and calls of them and of plain commands.
//!
//! A script is called by its hash. A Redis that does not have it (restarted, failed over,
//! `SCRIPT FLUSH`) gets its text instead; whatever a call does, it has not done it then.

use std::sync::LazyLock;

use redis::Cmd;

/// A script.
pub struct Script {
    source: &'static str,
    hash: String,
}

macro_rules! scripts {
    ($($name:ident = $file:literal;)*) => {
        $(pub static $name: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!($file)));)*
    };
}

scripts! {
    FOLD = "lua/fold.lua";
    READ = "lua/read.lua";
    STORY = "lua/story.lua";
    TICKS = "lua/ticks.lua";
    LINES = "lua/lines.lua";
    INDEX = "lua/index.lua";
    ALIVE = "lua/alive.lua";
    LEASE = "lua/lease.lua";
    EARLIEST = "lua/earliest.lua";
    FULLNESS = "lua/fullness.lua";
    SHORTEN = "lua/shorten.lua";
    DEAD = "lua/dead.lua";
    VOID = "lua/void.lua";
    CLAIM = "lua/claim.lua";
    HOLDERS = "lua/holders.lua";
    ENTER = "lua/enter.lua";
    LEAVE = "lua/leave.lua";
    RELEASE = "lua/release.lua";
    USAGE = "lua/usage.lua";
    NOTE = "lua/note.lua";
    LINE = "lua/line.lua";
}

impl Script {
    fn new(source: &'static str) -> Self {
        let hash = redis::Script::new(source).get_hash().to_owned();
        Self { source, hash }
    }

    /// Prepares a call; all keys must have one hash tag.
    pub fn call(&'static self, keys: Vec<String>) -> Call {
        Call::Script {
            script: self,
            keys,
            args: Vec::new(),
        }
    }
}

/// One command to send.
pub enum Call {
    /// A plain command.
    Plain(Cmd),
    /// A script with its keys and arguments.
    Script {
        script: &'static Script,
        keys: Vec<String>,
        args: Vec<Vec<u8>>,
    },
}

impl Call {
    /// Adds an argument to a script's call.
    pub fn arg(&mut self, arg: impl Into<Vec<u8>>) -> &mut Self {
        match self {
            Self::Plain(cmd) => {
                cmd.arg(arg.into());
            }
            Self::Script { args, .. } => args.push(arg.into()),
        }
        self
    }

    /// Adds an argument to a script's call.
    pub fn with(mut self, arg: impl Into<Vec<u8>>) -> Self {
        self.arg(arg);
        self
    }

    /// Returns the command that calls a script by its hash.
    pub fn by_hash(&self) -> Cmd {
        match self {
            Self::Plain(cmd) => cmd.clone(),
            Self::Script { script, keys, args } => eval("EVALSHA", &script.hash, keys, args),
        }
    }

    /// Returns the command that calls a script by its text.
    pub fn by_source(&self) -> Cmd {
        match self {
            Self::Plain(cmd) => cmd.clone(),
            Self::Script { script, keys, args } => eval("EVAL", script.source, keys, args),
        }
    }
}

fn eval(how: &str, script: &str, keys: &[String], args: &[Vec<u8>]) -> Cmd {
    let bytes = keys.iter().map(String::len).sum::<usize>();
    let bytes = bytes + args.iter().map(Vec::len).sum::<usize>() + script.len();
    let mut cmd = Cmd::with_capacity(3 + keys.len() + args.len(), bytes + 16);
    cmd.arg(how).arg(script).arg(keys.len()).arg(keys);
    for arg in args {
        cmd.arg(arg);
    }
    cmd
}
