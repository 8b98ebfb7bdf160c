//! Reads one rule.
//!
//! ```text
//! rule  = all *( "or" all )
//! all   = one *( "and" one )
//! one   = "not" one / "(" rule ")" / "@" / "!" / check
//! check = "role:" NAME / "rule:" NAME / ATTRIBUTE ":" VALUE
//! ```

use super::expr::{Attribute, Expr, Value};

/// Longest rule, in bytes.
const LONGEST: usize = 4096;
/// How deep `not` and parentheses may nest.
const DEEPEST: usize = 32;
/// Longest name or value, in bytes.
const LONGEST_NAME: usize = 255;

/// What is wrong with a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {why}")]
pub struct Fault {
    /// Which character of the rule, from 1.
    pub column: usize,
    /// Why.
    pub why: String,
}

/// Reads a rule. Neither its length nor its depth is more than what it says here.
///
/// # Errors
///
/// [`Fault`], with the first place that cannot be understood.
pub fn parse(text: &str) -> Result<Expr, Fault> {
    if text.len() > LONGEST {
        return Err(fault(1, format!("a rule has at most {LONGEST} bytes")));
    }
    if text.trim().is_empty() {
        return Err(fault(
            1,
            "the rule is empty: \"@\" is always allowed, \"!\" never",
        ));
    }
    let mut parser = Parser {
        tokens: tokens(text),
        at: 0,
        end: text.chars().count() + 1,
    };
    let rule = parser.any(0)?;
    match parser.peek() {
        None => Ok(rule),
        Some(token) => Err(fault(
            token.column,
            format!("expected \"and\" or \"or\", found {:?}", token.text),
        )),
    }
}

fn fault(column: usize, why: impl Into<String>) -> Fault {
    let why = why.into();
    Fault { column, why }
}

#[derive(Debug, Clone, Copy)]
struct Token<'a> {
    text: &'a str,
    column: usize,
}

impl Token<'_> {
    fn is(&self, word: &str) -> bool {
        self.text.eq_ignore_ascii_case(word)
    }
}

/// Cuts a rule at white space and parentheses, but not at those of `%(…)s`.
fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let (mut rest, mut column) = (text, 1);
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '(' | ')' => 1,
            c if c.is_whitespace() => c.len_utf8(),
            _ => word(rest),
        };
        let (text, after) = rest.split_at(length);
        if !first.is_whitespace() {
            tokens.push(Token { text, column });
        }
        column += text.chars().count();
        rest = after;
    }
    tokens
}

/// Returns the length of the word that the text begins with.
fn word(text: &str) -> usize {
    let (mut before, mut in_name) = (' ', false);
    for (at, c) in text.char_indices() {
        if in_name {
            in_name = c != ')';
        } else if c == '(' && before == '%' {
            in_name = true;
        } else if c.is_whitespace() || matches!(c, '(' | ')') {
            return at;
        }
        before = c;
    }
    text.len()
}

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
    /// The column behind the last one.
    end: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<Token<'a>> {
        self.tokens.get(self.at).copied()
    }

    fn next(&mut self, wanted: &str) -> Result<Token<'a>, Fault> {
        let token = self.peek();
        self.at += 1;
        token.ok_or_else(|| fault(self.end, format!("expected {wanted}, found the end")))
    }

    fn takes(&mut self, word: &str) -> bool {
        let found = self.peek().is_some_and(|token| token.is(word));
        self.at += usize::from(found);
        found
    }

    fn any(&mut self, depth: usize) -> Result<Expr, Fault> {
        let mut rules = vec![self.all(depth)?];
        while self.takes("or") {
            rules.push(self.all(depth)?);
        }
        Ok(Expr::any(rules))
    }

    fn all(&mut self, depth: usize) -> Result<Expr, Fault> {
        let mut rules = vec![self.one(depth)?];
        while self.takes("and") {
            rules.push(self.one(depth)?);
        }
        Ok(Expr::all(rules))
    }

    fn one(&mut self, depth: usize) -> Result<Expr, Fault> {
        let token = self.next("a check")?;
        if depth == DEEPEST {
            let why = format!("more than {DEEPEST} levels of \"not\" and parentheses");
            return Err(fault(token.column, why));
        }
        if token.is("not") {
            return Ok(Expr::Not(Box::new(self.one(depth + 1)?)));
        }
        match token.text {
            "@" => Ok(Expr::Always),
            "!" => Ok(Expr::Never),
            "(" => {
                let rule = self.any(depth + 1)?;
                let close = self.next("\")\"")?;
                if close.text != ")" {
                    let why = format!("expected \")\", found {:?}", close.text);
                    return Err(fault(close.column, why));
                }
                Ok(rule)
            }
            text => check(text).map_err(|why| fault(token.column, why)),
        }
    }
}

fn check(text: &str) -> Result<Expr, String> {
    let Some((kind, value)) = text.split_once(':') else {
        return Err(format!(
            "expected a check such as \"role:member\", found {text:?}"
        ));
    };
    match kind {
        "role" => Ok(Expr::Role(name(value)?)),
        "rule" => Ok(Expr::Rule(name(value)?)),
        _ => {
            let known = Attribute::ALL.iter().find(|(name, _)| *name == kind);
            let (_, attribute) = known.ok_or_else(|| {
                let names = Attribute::ALL.map(|(name, _)| name).join(", ");
                format!("{kind:?} is no check: role, rule, {names}")
            })?;
            let value = self::value(value)?;
            if *attribute == Attribute::IsAdminProject && !is_boolean(&value) {
                return Err("is_admin_project is True or False".to_owned());
            }
            Ok(Expr::Is(*attribute, value))
        }
    }
}

fn is_boolean(value: &Value) -> bool {
    matches!(value, Value::Text(text) if matches!(text.as_str(), "True" | "False"))
}

fn value(text: &str) -> Result<Value, String> {
    match text {
        "%(project_id)s" => Ok(Value::ProjectId),
        "%(user_id)s" => Ok(Value::UserId),
        _ if text.contains('%') => Err(format!(
            "{text:?} is not known: %(project_id)s or %(user_id)s"
        )),
        _ => Ok(Value::Text(name(text)?)),
    }
}

/// Reads a name or a value that is written out.
fn name(text: &str) -> Result<String, String> {
    let fits = (1..=LONGEST_NAME).contains(&text.len());
    let plain = |c: char| !c.is_control() && !matches!(c, '%' | '"' | '\'');
    if fits && text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{text:.64?}: a name has 1 to {LONGEST_NAME} bytes, no quotes and no \"%\""
    ))
}
