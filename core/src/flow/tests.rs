use serde_json::{Value, json};

use super::*;
use crate::{
    flow::reference::{MAX_RESOLVED, Unresolved, holds, resolve},
    kinds::Registry,
};

fn registry() -> Registry {
    Registry::built_in().unwrap()
}

fn steps(steps: &Value) -> Vec<String> {
    found(&json!({ "steps": steps }))
}

fn found(input: &Value) -> Vec<String> {
    let registry = registry();
    let kind = registry.get(&KIND.parse().unwrap()).unwrap();
    let mut errors: Vec<_> = kind.check_input(input);
    if errors.is_empty() {
        errors = check(&registry, kind, input, 0).errors;
    }
    errors
        .iter()
        .map(|e| format!("{} {}", e.pointer, e.code))
        .collect()
}

fn delete(name: &str, hostname: &Value) -> Value {
    json!({"name": name, "kind": "vm.delete", "input": {"vm_hostname": hostname}})
}

#[test]
fn a_good_flow_passes_and_says_what_it_needs() {
    let registry = registry();
    let kind = registry.get(&KIND.parse().unwrap()).unwrap();
    let input = json!({"vars": {"host": "lx1"}, "steps": [
        delete("a", &json!({"$ref": "/input/vars/host"})),
        {"name": "b", "kind": "flow.run", "when": {"$ref": "/done/a/output/deleted"}, "input": {
            "vars": {"h": {"$ref": "/done/a/output/vm_hostname"}},
            "steps": [delete("c", &json!({"$ref": "/input/vars/h"}))],
        }, "undo": {"kind": "vm.delete", "input": {"vm_hostname": "lx2", "machine": {"$ref": "/done/b/job_id"}}}},
    ]});
    assert_eq!(kind.check_input(&input), []);
    let checked = check(&registry, kind, &input, 0);
    assert_eq!(checked.errors, []);
    // Three steps, and what takes one of them back.
    assert_eq!(checked.jobs, 4);
    assert!(checked.roles.contains("member"));
}

#[test]
fn what_can_be_known_is_refused_at_once() {
    let lx = json!("lx1");
    for (flow, error) in [
        (json!([]), "/steps min-items"),
        (
            json!([{"name": "A", "kind": "vm.delete"}]),
            "/steps/0/name pattern",
        ),
        (
            json!([delete("a", &lx), delete("a", &lx)]),
            "/steps/1/name unique",
        ),
        (
            json!([{"name": "a", "kind": "vm.explode"}]),
            "/steps/0/kind unknown-kind",
        ),
        (
            json!([{"name": "a", "kind": "callback.deliver"}]),
            "/steps/0/kind unknown-kind",
        ),
        (json!([{"name": "a", "kind": "VM"}]), "/steps schema"),
        (
            json!([delete("a", &json!("web"))]),
            "/steps/0/input/vm_hostname pattern",
        ),
        (
            json!([
                delete("a", &json!({"$ref": "/done/b/output"})),
                delete("b", &lx)
            ]),
            "/steps/0/input/vm_hostname reference",
        ),
        (
            json!([delete("a", &json!({"$ref": "/done/a/output"}))]),
            "/steps/0/input/vm_hostname reference",
        ),
        (
            json!([
                delete("a", &lx),
                delete("b", &json!({"$ref": "/done/a/error"}))
            ]),
            "/steps/1/input/vm_hostname reference",
        ),
        (
            json!([delete("a", &json!({"$ref": "/env/HOME"}))]),
            "/steps/0/input/vm_hostname reference",
        ),
        (
            json!([delete("a", &json!({"$ref": "input"}))]),
            "/steps/0/input/vm_hostname reference",
        ),
        (
            json!([delete("a", &json!({"$ref": "/input", "or": 1}))]),
            "/steps/0/input/vm_hostname reference",
        ),
        (
            json!([{"name": "a", "kind": "vm.delete", "input": {"vm_hostname": "lx"}, "when": {"is": 1}}]),
            "/steps/0/when reference",
        ),
        (
            json!([{"name": "a", "kind": "vm.delete", "input": {"vm_hostname": "lx"},
            "undo": {"kind": "vm.delete", "input": {"vm_hostname": {"$ref": "/done/a/output/x"}}}}]),
            "/steps/0/undo/input/vm_hostname reference",
        ),
    ] {
        assert_eq!(steps(&flow), [error], "{flow}");
    }
}

#[test]
fn the_limits_are_refused() {
    let many: Vec<_> = (0..51)
        .map(|n| delete(&format!("s{n}"), &json!("lx")))
        .collect();
    assert_eq!(steps(&json!(many)), ["/steps max-items"]);
    assert_eq!(steps(&json!(many[..50])), [""; 0]);

    let nested = |depth: usize| {
        (0..depth).fold(
            delete("a", &json!("lx")),
            |inner, _| json!({"name": "a", "kind": "flow.run", "input": {"steps": [inner]}}),
        )
    };
    assert_eq!(steps(&json!([nested(4)])), [""; 0]);
    let errors = steps(&json!([nested(5)]));
    assert!(
        errors.iter().any(|e| e.ends_with("max-depth")),
        "{errors:?}"
    );

    let group = |n: usize| json!({"name": format!("g{n}"), "kind": "flow.run", "input": {"steps": many[..50]}});
    let groups: Vec<_> = (0..20).map(group).collect();
    let errors = steps(&json!(groups));
    assert!(errors.iter().any(|e| e.ends_with("max-jobs")), "{errors:?}");
    assert_eq!(steps(&json!(groups[..19])), [""; 0]);
    // What takes steps back counts, too.
    let undone: Vec<_> = many[..50]
        .iter()
        .map(|step| {
            let mut step = step.clone();
            step["undo"] = json!({"kind": "vm.delete", "input": {"vm_hostname": "lx"}});
            step
        })
        .collect();
    let group =
        |n: usize| json!({"name": format!("g{n}"), "kind": "flow.run", "input": {"steps": undone}});
    let groups: Vec<_> = (0..10).map(group).collect();
    let errors = steps(&json!(groups));
    assert!(errors.iter().any(|e| e.ends_with("max-jobs")), "{errors:?}");
    assert_eq!(steps(&json!(groups[..9])), [""; 0]);
}

#[test]
fn the_built_in_flow_is_checked_with_its_input() {
    let registry = registry();
    let kind = registry.get(&"vm.provision".parse().unwrap()).unwrap();
    let input = json!({"playbook": "site.yml", "vm": {
        "app_env": "DEV", "app_trigram": "vmc", "vm_desc": "", "vm_hostname": "lxweb",
        "vm_profile": "Micro", "vm_region": "North",
    }});
    let pointers = |input: &Value| -> Vec<String> {
        let found = check(&registry, kind, input, 0);
        assert_eq!(found.jobs, 3);
        found.errors.into_iter().map(|e| e.pointer).collect()
    };
    assert_eq!(pointers(&input), [""; 0]);
    let mut bad = input.clone();
    bad["vm"]["vm_hostname"] = json!("web");
    assert!(pointers(&bad).contains(&"/steps/0/input/vm_hostname".to_owned()));
}

#[test]
fn references_give_values_and_nothing_else() {
    let document =
        json!({"input": {"a": {"b": [1, null]}}, "done": {"vm": {"output": {"ip": "x"}}}});
    let value = json!({"ip": {"$ref": "/done/vm/output/ip"}, "list": [{"$ref": "/input/a/b/0"}, 2],
        "null": {"$ref": "/input/a/b/1"}, "or": {"$ref": "/input/none", "default": {}}});
    let resolved = json!({"ip": "x", "list": [1, 2], "null": null, "or": {}});
    let resolve = |value: &Value| resolve(value, &document, &mut { MAX_RESOLVED });
    assert_eq!(resolve(&value), Ok(resolved));
    for (pointer, error) in [
        (
            "/done/vm/output/dns",
            Unresolved::Dangling("/done/vm/output/dns".to_owned()),
        ),
        (
            "/input/~2",
            Unresolved::Malformed(
                "in a JSON pointer ~ stands before 0 or 1, for ~ and / themselves",
            ),
        ),
    ] {
        assert_eq!(resolve(&json!([{"$ref": pointer}])), Err(error));
    }
}

/// A flow in flows whose innermost inputs are `copies` to the power of the levels times its text.
fn amplified(text: usize, copies: usize, levels: usize) -> Value {
    let step = |input: Value| json!([{"name": "a", "kind": "flow.run", "input": input}]);
    let mut steps = json!([{"name": "q", "kind": "vm.delete", "input": {"vm_hostname": "lxzz"}}]);
    for level in (1..levels).rev() {
        let reference = json!({"$ref": format!("/input/vars/v{level}")});
        let vars = json!({format!("v{}", level + 1): vec![reference; copies]});
        steps = step(json!({"vars": vars, "steps": steps}));
    }
    json!({"vars": {"v1": "y".repeat(text)}, "steps": steps})
}

#[test]
fn references_to_references_do_not_make_much_of_little() {
    let registry = registry();
    let kind = registry.get(&KIND.parse().unwrap()).unwrap();
    let codes = |input: &Value| -> Vec<String> {
        let found = check(&registry, kind, input, 0);
        found.errors.into_iter().map(|e| e.code).collect()
    };
    assert_eq!(codes(&amplified(1000, 10, 3)), [""; 0]);
    // 20 kB, 100 times, 300 times, 100 times: 60 TB.
    let mut large = amplified(20_000, 100, 2);
    assert_eq!(codes(&large), ["too-large"]);
    large = amplified(20_000, 100, 4);
    assert!(codes(&large).contains(&"too-large".to_owned()));
}

#[test]
fn a_step_takes_part_when_its_reference_gives_something() {
    let document =
        json!({"input": {"t": [true, 1, "x", [0], {"a": 1}], "f": [false, 0, "", [], {}, null]}});
    for (list, expected) in [("t", true), ("f", false)] {
        for n in 0..6 {
            let when = json!({"$ref": format!("/input/{list}/{n}")});
            if list == "t" && n == 5 {
                continue;
            }
            assert_eq!(holds(Some(&when), &document), expected, "{when}");
        }
    }
    assert!(holds(None, &document));
    assert!(!holds(Some(&json!({"$ref": "/input/missing"})), &document));
}
