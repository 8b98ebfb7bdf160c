//! What can be known of a flow before it runs.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use vmctl_api_types::{FieldError, Kind};

use super::{
    KIND, MAX_STEPS, Step, is_step_name,
    reference::{MAX_RESOLVED, Reference, Unresolved},
    resolve_input, split, steps_of,
};
use crate::{
    children::{MAX_CHILDREN, MAX_DEPTH},
    kinds::{KindSpec, Registry},
    pointer,
};

/// Most errors that are told at once.
const MAX_ERRORS: usize = 100;

/// Most bytes that references give in all before a flow runs. What lies beyond is found when it runs.
const MAX_FORESEEN: usize = 8 * MAX_RESOLVED;

/// What was found.
#[derive(Debug, Default)]
pub struct Checked {
    /// What is wrong; pointers are into the value that holds the steps.
    pub errors: Vec<FieldError>,
    /// The roles that the kinds of all steps need.
    pub roles: BTreeSet<String>,
    /// How many jobs the flow comes to: its steps and those of flows inside it, and once each what takes
    /// them back.
    pub jobs: usize,
}

/// Checks a job that may be a flow: its steps, and the flows in them. `depth` is how many jobs stand
/// above it. Finds nothing in a job that is no flow.
pub fn check(registry: &Registry, kind: &KindSpec, input: &Value, depth: u32) -> Checked {
    let mut walk = Walk::new(registry);
    walk.job(kind, (Some(input), Some(input)), "", depth);
    walk.found
}

/// Checks the flows of a registry: every step names a kind, and no flow holds itself. Returns each flow with
/// an error, and the first of its errors.
pub fn check_all(registry: &Registry) -> Vec<(Kind, String)> {
    let flows = registry.kinds().filter(|kind| kind.steps.is_some());
    flows
        .filter_map(|kind| {
            let mut walk = Walk::new(registry);
            walk.job(kind, (None, None), "", 0);
            let error = walk.found.errors.first()?;
            let reason = format!("{} {}", error.pointer, error.detail);
            Some((kind.kind.clone(), reason))
        })
        .collect()
}

struct Walk<'r> {
    registry: &'r Registry,
    found: Checked,
    /// Bytes that references may still give.
    left: usize,
}

impl<'r> Walk<'r> {
    fn new(registry: &'r Registry) -> Self {
        Self {
            registry,
            found: Checked::default(),
            left: MAX_FORESEEN,
        }
    }

    fn refuse(&mut self, pointer: &str, code: &str, detail: impl Into<String>) {
        if self.found.errors.len() < MAX_ERRORS {
            self.found.errors.push(FieldError {
                pointer: pointer.to_owned(),
                code: code.to_owned(),
                detail: detail.into(),
            });
        }
    }

    /// Looks at the input as it is written, and as it will be once its references are followed;
    /// that is `None` where it is not known yet.
    fn job(
        &mut self,
        kind: &KindSpec,
        (written, known): (Option<&Value>, Option<&Value>),
        at: &str,
        depth: u32,
    ) {
        let at = format!("{at}/steps");
        if let Some(steps) = &kind.steps {
            self.steps(steps, known, &at, depth);
        } else if kind.kind.as_str() == KIND {
            match written.map(steps_of) {
                Some(Ok(steps)) => self.steps(&steps, known, &at, depth),
                Some(Err(reason)) => self.refuse(&at, "schema", reason),
                None => {}
            }
        }
    }

    fn steps(&mut self, steps: &[Step], input: Option<&Value>, at: &str, depth: u32) {
        if steps.is_empty() {
            self.refuse(at, "min-items", "a flow has at least one step");
        }
        if steps.len() > MAX_STEPS {
            self.refuse(
                at,
                "max-items",
                format!("a flow has at most {MAX_STEPS} steps"),
            );
            return;
        }
        if depth >= MAX_DEPTH {
            self.refuse(
                at,
                "max-depth",
                format!("at most {MAX_DEPTH} jobs stand above a job"),
            );
            return;
        }
        let undone = steps.iter().filter(|step| step.undo.is_some()).count();
        self.found.jobs += steps.len() + undone;
        if self.found.jobs > MAX_CHILDREN {
            if self.found.errors.iter().all(|e| e.code != "max-jobs") {
                let detail = format!("a flow comes to at most {MAX_CHILDREN} jobs in all");
                self.refuse(at, "max-jobs", detail);
            }
            return;
        }
        // What does not depend on other steps can be checked now.
        let document = input.map_or(Value::Null, |input| json!({ "input": input }));
        let mut earlier: Vec<&str> = Vec::new();
        for (n, step) in steps.iter().enumerate() {
            let at = pointer::item(at, n);
            if !is_step_name(&step.name) {
                let detail = "a name is a letter and at most 31 of a-z 0-9 - _";
                self.refuse(&format!("{at}/name"), "pattern", detail);
            } else if earlier.contains(&step.name.as_str()) {
                self.refuse(
                    &format!("{at}/name"),
                    "unique",
                    "another step has this name",
                );
            }
            self.step(step, &earlier, &document, &at, depth);
            earlier.push(&step.name);
        }
    }

    fn step(&mut self, step: &Step, earlier: &[&str], document: &Value, at: &str, depth: u32) {
        if let Some(when) = &step.when {
            if Reference::of(when).is_none() {
                let detail = "must be a reference: {\"$ref\": \"/…\"}";
                self.refuse(&format!("{at}/when"), "reference", detail);
            }
            self.references(when, earlier, None, &format!("{at}/when"));
        }
        let scope = (earlier, None);
        self.input(&step.kind, &step.input, scope, document, at, depth);
        if let Some(undo) = &step.undo {
            let at = format!("{at}/undo");
            let scope = (earlier, Some(step.name.as_str()));
            self.input(&undo.kind, &undo.input, scope, document, &at, depth);
        }
    }

    /// Checks the kind and the input of one job that the flow asks for.
    fn input(
        &mut self,
        name: &Kind,
        written: &Value,
        (earlier, own): (&[&str], Option<&str>),
        document: &Value,
        at: &str,
        depth: u32,
    ) {
        let registry = self.registry;
        let Some(kind) = registry.get(name).filter(|kind| !kind.internal) else {
            let detail = format!("there is no kind {name}");
            self.refuse(&format!("{at}/kind"), "unknown-kind", detail);
            return;
        };
        self.found.roles.insert(kind.required_role.clone());
        let at = format!("{at}/input");
        let (outer, _) = split(name, written);
        self.references(&outer, earlier, own, &at);
        let known = self.foresee(name, written, document, &at);
        for mut error in known.iter().flat_map(|known| kind.check_input(known)) {
            error.pointer.insert_str(0, &at);
            if self.found.errors.len() < MAX_ERRORS {
                self.found.errors.push(error);
            }
        }
        self.job(kind, (Some(written), known.as_ref()), &at, depth + 1);
    }

    /// Follows the references of an input; `None` where that cannot be done yet.
    fn foresee(
        &mut self,
        kind: &Kind,
        written: &Value,
        document: &Value,
        at: &str,
    ) -> Option<Value> {
        let most = self.left.min(MAX_RESOLVED);
        let mut left = most;
        let known = resolve_input(kind, written, document, &mut left);
        self.left -= most - left;
        if known == Err(Unresolved::TooLarge) && most == MAX_RESOLVED {
            self.refuse(at, "too-large", Unresolved::TooLarge.to_string());
        }
        known.ok()
    }

    /// Checks where references point. `own` is the step itself, whose output an undo must not use.
    fn references(&mut self, value: &Value, earlier: &[&str], own: Option<&str>, at: &str) {
        match (Reference::of(value), value) {
            (Some(Ok(reference)), _) => {
                if let Err(detail) = points(reference.pointer, earlier, own) {
                    self.refuse(at, "reference", detail);
                }
            }
            (Some(Err(reason)), _) => self.refuse(at, "reference", reason),
            (None, Value::Object(members)) => {
                for (name, member) in members {
                    self.references(member, earlier, own, &pointer::member(at, name));
                }
            }
            (None, Value::Array(items)) => {
                for (n, item) in items.iter().enumerate() {
                    self.references(item, earlier, own, &pointer::item(at, n));
                }
            }
            (None, _) => {}
        }
    }
}

fn points(pointer: &str, earlier: &[&str], own: Option<&str>) -> Result<(), String> {
    let mut parts = pointer.split('/').skip(1);
    match (parts.next(), parts.next(), parts.next()) {
        (Some("input"), ..) => Ok(()),
        (Some("done"), Some(step), part) => {
            let is_own = own == Some(step);
            if !is_own && !earlier.contains(&step) {
                return Err(format!("no earlier step is called {step}"));
            }
            match part {
                Some("output") if is_own => {
                    Err("an undo cannot use the output of its own step".to_owned())
                }
                Some("output" | "job_id" | "input") => Ok(()),
                _ => Err(format!(
                    "{pointer} must go on with output, job_id or input after the step"
                )),
            }
        }
        _ => Err("a reference begins with /input or /done/<step>".to_owned()),
    }
}
