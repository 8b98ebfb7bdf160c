//! What the output of `ansible-playbook` says at its end.

use std::collections::{BTreeMap, VecDeque};

/// Most lines that are kept of one stream: the recap of a hundred hosts, and the last ones.
const KEPT: usize = 200;

/// The last lines of a stream.
#[derive(Debug, Default)]
pub(super) struct Kept(VecDeque<String>);

impl Kept {
    pub fn add(&mut self, line: &str) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        let end = vmctl_core::lines::cut(line, vmctl_core::lines::MAX_LINE);
        self.0.push_back(end.to_owned());
    }

    pub fn into_lines(self) -> Vec<String> {
        self.0.into()
    }
}

/// Reads the recap: `web : ok=2 changed=1 unreachable=0 failed=0 skipped=0 rescued=0 ignored=0`.
#[derive(Debug)]
pub(super) struct Recap {
    hosts: BTreeMap<String, BTreeMap<String, u64>>,
    is_at_its_end: bool,
    last: VecDeque<String>,
    most: usize,
}

impl Recap {
    pub fn new(most: usize) -> Self {
        Self {
            hosts: BTreeMap::new(),
            is_at_its_end: false,
            last: VecDeque::new(),
            most,
        }
    }

    /// Takes one line of output, in order.
    pub fn read(&mut self, line: &str) {
        if line.starts_with("PLAY RECAP") {
            self.is_at_its_end = true;
            return;
        }
        if self.is_at_its_end
            && let Some((host, counts)) = counts(line)
        {
            self.hosts.insert(host.to_owned(), counts);
            return;
        }
        if self.last.len() == self.most {
            self.last.pop_front();
        }
        self.last.push_back(line.to_owned());
    }

    pub fn hosts(&self) -> &BTreeMap<String, BTreeMap<String, u64>> {
        &self.hosts
    }

    /// Returns the last lines before the recap.
    pub fn last(&self) -> String {
        let lines: Vec<&str> = self.last.iter().map(String::as_str).collect();
        lines.join("\n")
    }

    /// Says whether hosts could not be reached and nothing else went wrong.
    pub fn is_unreachable(&self, code: Option<i32>) -> bool {
        code == Some(4) && self.sum("unreachable") > 0 && self.sum("failed") == 0
    }

    /// Returns the error's word.
    pub fn word(&self, code: Option<i32>) -> &'static str {
        if self.is_unreachable(code) {
            "unreachable"
        } else {
            "playbook-failed"
        }
    }

    fn sum(&self, what: &str) -> u64 {
        self.hosts.values().filter_map(|host| host.get(what)).sum()
    }
}

fn counts(line: &str) -> Option<(&str, BTreeMap<String, u64>)> {
    let (host, rest) = line.split_once(" : ")?;
    let pair = |word: &str| {
        let (name, count) = word.split_once('=')?;
        Some((name.to_owned(), count.parse().ok()?))
    };
    let counts: Option<BTreeMap<_, _>> = rest.split_whitespace().map(pair).collect();
    Some((
        host.trim(),
        counts.filter(|counts| counts.contains_key("ok"))?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recap_is_read_and_the_rest_is_shown() {
        let mut recap = Recap::new(2);
        for line in [
            "TASK [x] ***",
            "lx1 : ok=9",
            "fatal: [lx2]: UNREACHABLE! => {}",
            "PLAY RECAP *********",
            "lx1                : ok=2    changed=1    unreachable=0    failed=0",
            "2001:db8::1 : ok=0    changed=0    unreachable=1    failed=0",
        ] {
            recap.read(line);
        }
        assert_eq!(recap.hosts()["lx1"]["changed"], 1);
        assert_eq!(recap.hosts().len(), 2);
        assert_eq!(recap.last(), "lx1 : ok=9\nfatal: [lx2]: UNREACHABLE! => {}");
        assert!(recap.is_unreachable(Some(4)));
        assert_eq!(recap.word(Some(2)), "playbook-failed");
    }
}
