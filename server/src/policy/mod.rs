//! Who may do what: a small subset of oslo.policy, checked before anything starts. Pure, but for reading
//! the file.
//!
//! - Every action has a rule in the code ([`ACTIONS`]); a file replaces single ones.
//! - Nothing is refused late: what a file has is understood whole, or the server does not start.
//! - Asking a policy always ends: rules refer to each other without a circle, and none is large even with
//!   everything written out that it refers to.

mod actions;
mod expr;
mod file;
mod parse;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, path::Path, sync::Arc};

pub use actions::{ACTIONS, ALL_PROJECTS, Action, Scope, of_route};
pub use expr::{Credentials, Target};
pub use file::{PolicyError, Wrong};

use expr::Expr;

/// The rules of a server. Clones are the same ones.
#[derive(Debug, Clone)]
pub struct Policy {
    rules: Arc<BTreeMap<String, Expr>>,
}

/// One rule as people are shown it.
#[derive(Debug)]
pub struct Shown {
    /// The action, or a rule that others refer to.
    pub name: String,
    /// What the code says; `None` when only the file has it.
    pub default: Option<&'static str>,
    /// What holds.
    pub rule: String,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            // The defaults are read by a test.
            rules: Arc::new(file::defaults().unwrap_or_default()),
        }
    }
}

impl Policy {
    /// Reads a file of rules.
    ///
    /// # Errors
    ///
    /// [`PolicyError`], with everything that is wrong with it.
    pub fn from_file(path: &Path) -> Result<Self, PolicyError> {
        let rules = Arc::new(file::read(path)?);
        Ok(Self { rules })
    }

    /// Says whether the rule of an action holds; one without a rule holds for nobody.
    pub fn allows(&self, action: &str, who: &Credentials, target: Target<'_>) -> bool {
        let rule = self.rules.get(action);
        rule.is_some_and(|rule| rule.holds(&self.rules, who, target))
    }

    /// Returns every rule: the actions in their order, then what they refer to.
    pub fn show(&self) -> Vec<Shown> {
        let defaults = || {
            let actions = ACTIONS.iter().map(|action| (action.name, action.default));
            actions.chain(actions::ALIASES)
        };
        let known = defaults().map(|(name, default)| (name.to_owned(), Some(default)));
        let is_known = |name: &str| defaults().any(|(known, _)| known == name);
        let more = self.rules.keys().filter(|name| !is_known(name));
        let all = known.chain(more.map(|name| (name.clone(), None)));
        let show = |(name, default)| {
            let rule = self.rules.get(&name)?.to_string();
            Some(Shown {
                name,
                default,
                rule,
            })
        };
        all.filter_map(show).collect()
    }
}
