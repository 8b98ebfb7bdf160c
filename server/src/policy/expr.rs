//! A rule as it was understood: printed in oslo.policy's words, and asked.

use std::{collections::BTreeMap, fmt};

use vmctl_core::identity::AuthContext;

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expr {
    /// `@`
    Always,
    /// `!`
    Never,
    /// `role:NAME`
    Role(String),
    /// `rule:NAME`
    Rule(String),
    /// `ATTRIBUTE:VALUE`
    Is(Attribute, Value),
    /// `not …`
    Not(Box<Expr>),
    /// `… and …`, at least two.
    All(Vec<Expr>),
    /// `… or …`, at least two.
    Any(Vec<Expr>),
}

/// What is known of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attribute {
    /// The user's id.
    UserId,
    /// The id of the project that the token is scoped to.
    ProjectId,
    /// The id of that project's domain.
    ProjectDomainId,
    /// Whether it is the project that the operator has named.
    IsAdminProject,
}

/// What an attribute is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// The text itself.
    Text(String),
    /// `%(project_id)s`: the project whose job it is.
    ProjectId,
    /// `%(user_id)s`: the user who has asked for the job.
    UserId,
}

impl Attribute {
    /// Every attribute, by its name.
    pub const ALL: [(&'static str, Self); 4] = [
        ("user_id", Self::UserId),
        ("project_id", Self::ProjectId),
        ("project_domain_id", Self::ProjectDomainId),
        ("is_admin_project", Self::IsAdminProject),
    ];
}

/// Who asks.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// What the token says.
    pub context: AuthContext,
    /// Whether its project is the one that the operator has named.
    pub is_admin_project: bool,
}

impl Credentials {
    fn get(&self, attribute: Attribute) -> Option<&str> {
        let project = self.context.project.as_ref();
        match attribute {
            Attribute::UserId => Some(&self.context.user_id),
            Attribute::ProjectId => project.map(|project| project.id.as_str()),
            Attribute::ProjectDomainId => project.map(|project| project.domain_id.as_str()),
            Attribute::IsAdminProject if self.is_admin_project => Some("True"),
            Attribute::IsAdminProject => Some("False"),
        }
    }
}

/// What it is asked about; a rule that looks at what is not known does not hold.
#[derive(Debug, Clone, Copy, Default)]
pub struct Target<'a> {
    /// The project that it belongs to.
    pub project_id: Option<&'a str>,
    /// The user who has asked for it.
    pub user_id: Option<&'a str>,
}

impl Expr {
    /// Returns what holds when all of these hold; one alone is itself.
    pub fn all(rules: Vec<Self>) -> Self {
        Self::joined(rules, Self::All, |rule| match rule {
            Self::All(rules) => Ok(rules),
            other => Err(other),
        })
    }

    /// Returns what holds when one of these holds; one alone is itself.
    pub fn any(rules: Vec<Self>) -> Self {
        Self::joined(rules, Self::Any, |rule| match rule {
            Self::Any(rules) => Ok(rules),
            other => Err(other),
        })
    }

    fn joined(
        rules: Vec<Self>,
        join: fn(Vec<Self>) -> Self,
        open: fn(Self) -> Result<Vec<Self>, Self>,
    ) -> Self {
        let mut flat: Vec<Self> = rules
            .into_iter()
            .flat_map(|rule| open(rule).unwrap_or_else(|other| vec![other]))
            .collect();
        if flat.len() == 1 {
            flat.remove(0)
        } else {
            join(flat)
        }
    }

    /// Says whether the rule holds. `rules` has every rule that this one refers to.
    pub fn holds(
        &self,
        rules: &BTreeMap<String, Expr>,
        who: &Credentials,
        target: Target<'_>,
    ) -> bool {
        let holds = |rule: &Self| rule.holds(rules, who, target);
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Role(role) => who.context.has_role(role),
            Self::Rule(name) => rules.get(name).is_some_and(holds),
            Self::Is(attribute, value) => {
                let wanted = match value {
                    Value::Text(text) => Some(text.as_str()),
                    Value::ProjectId => target.project_id,
                    Value::UserId => target.user_id,
                };
                // Two unknowns are not equal.
                wanted.is_some_and(|wanted| who.get(*attribute) == Some(wanted))
            }
            Self::Not(rule) => !holds(rule),
            Self::All(rules) => rules.iter().all(holds),
            Self::Any(rules) => rules.iter().any(holds),
        }
    }

    /// Calls `look` with this and everything in it.
    pub fn walk<'a>(&'a self, look: &mut dyn FnMut(&'a Self)) {
        look(self);
        match self {
            Self::Not(rule) => rule.walk(look),
            Self::All(rules) | Self::Any(rules) => rules.iter().for_each(|rule| rule.walk(look)),
            _ => {}
        }
    }

    /// `and` binds closer than `or`, and `not` closest.
    fn closeness(&self) -> u8 {
        match self {
            Self::Any(_) => 0,
            Self::All(_) => 1,
            _ => 2,
        }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let within = |f: &mut fmt::Formatter<'_>, rule: &Self, least: u8| {
            if rule.closeness() < least {
                write!(f, "({rule})")
            } else {
                write!(f, "{rule}")
            }
        };
        let joined = |f: &mut fmt::Formatter<'_>, rules: &[Self], word: &str, least: u8| {
            for (n, rule) in rules.iter().enumerate() {
                if n > 0 {
                    f.write_str(word)?;
                }
                within(f, rule, least)?;
            }
            Ok(())
        };
        match self {
            Self::Always => f.write_str("@"),
            Self::Never => f.write_str("!"),
            Self::Role(role) => write!(f, "role:{role}"),
            Self::Rule(name) => write!(f, "rule:{name}"),
            Self::Is(attribute, value) => write!(f, "{attribute}:{value}"),
            Self::Not(rule) => {
                f.write_str("not ")?;
                within(f, rule, 2)
            }
            Self::All(rules) => joined(f, rules, " and ", 2),
            Self::Any(rules) => joined(f, rules, " or ", 1),
        }
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(_, attribute)| attribute == self);
        f.write_str(name.map_or("", |(name, _)| name))
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text(text) => text,
            Self::ProjectId => "%(project_id)s",
            Self::UserId => "%(user_id)s",
        })
    }
}
