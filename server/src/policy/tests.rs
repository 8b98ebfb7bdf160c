//! The golden table of the defaults, and what is said of wrong files.

use std::{fmt::Write as _, path::Path};

use proptest::prelude::*;
use vmctl_core::identity::{AuthContext, Project};

use super::{
    expr::{Attribute, Expr, Value},
    file,
    parse::parse,
    *,
};

/// A caller of project `own` with one role.
fn caller(role: &str, is_admin_project: bool) -> Credentials {
    Credentials {
        is_admin_project,
        context: AuthContext {
            user_id: "ann".to_owned(),
            user_name: "ann".to_owned(),
            project: Some(Project {
                id: "own".to_owned(),
                name: "own".to_owned(),
                domain_id: "d1".to_owned(),
            }),
            roles: vec![role.to_owned()],
            methods: Vec::new(),
            issued_at: None,
            expires_at: jiff::Timestamp::MAX,
        },
    }
}

/// Nobody's role, reader, member, admin, and admin of the project that the operator has named.
const CALLERS: [(&str, bool, char); 5] = [
    ("nobody", false, 'n'),
    ("reader", false, 'r'),
    ("member", false, 'm'),
    ("admin", false, 'a'),
    ("admin", true, 'o'),
];

fn may(policy: &Policy, action: &str, project: Option<&str>, user: Option<&str>) -> String {
    let target = Target {
        project_id: project,
        user_id: user,
    };
    let one = |(role, admin_project, letter)| {
        let allowed = policy.allows(action, &caller(role, admin_project), target);
        if allowed { letter } else { '-' }
    };
    CALLERS.into_iter().map(one).collect()
}

/// Who may do it in the own project, and to what belongs to another one.
const GOLDEN: &str = "
job:create own -rmao other -----
job:list own -rmao other -----
job:get own -rmao other -----
job:result own -rmao other -----
job:events own -rmao other -----
job:logs own -rmao other -----
job:children own -rmao other -----
job:stream own -rmao other -----
job:cancel own --mao other -----
job:retry own --mao other -----
callback:list own -rmao other -----
callback:redeliver own --mao other -----
vm:create own -rmao other -----
vm:delete own -rmao other -----
vm:get own -rmao other -----
quota:get own -rmao other -----
sync:call own -rmao other -----
kind:list any nrmao
kind:get any nrmao
profile:list any nrmao
region:list any nrmao
audit:list own ---ao
dead:list own ---ao
dead:replay own ---ao
queue:list own ---ao
worker:list own ---ao
admin:all_projects own ----o
";

#[test]
fn the_defaults_are_what_was_always_so() {
    let policy = Policy::default();
    let mut table = "\n".to_owned();
    for action in ACTIONS {
        let name = action.name;
        if action.scope == Scope::Service {
            writeln!(table, "{name} any {}", may(&policy, name, None, None)).unwrap();
            continue;
        }
        let own = may(&policy, name, Some("own"), Some("bob"));
        write!(table, "{name} own {own}").unwrap();
        // The routes of those who run the service ask about the own project alone.
        if !action
            .routes
            .iter()
            .any(|(_, path)| path.contains("/admin/"))
            && name != ALL_PROJECTS
        {
            let other = may(&policy, name, Some("other"), Some("ann"));
            write!(table, " other {other}").unwrap();
        }
        table.push('\n');
    }
    assert_eq!(table, GOLDEN);
}

#[test]
fn every_route_that_wants_a_token_has_one_action_and_no_other_has() {
    let document = serde_json::to_value(crate::document()).unwrap();
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let method = method.to_uppercase();
            let wants = operation["security"].is_array();
            assert_eq!(of_route(&method, path).is_some(), wants, "{method} {path}");
            routes.push((method, path.clone()));
        }
    }
    let is_served = |(method, path): &(&str, &str)| {
        // The other spelling of a documented path.
        let other = format!("{path}/");
        routes
            .iter()
            .any(|(m, p)| m == method && (p == path || *p == other))
    };
    let mut all: Vec<_> = ACTIONS.iter().flat_map(|action| action.routes).collect();
    assert!(all.iter().all(|route| is_served(route)));
    let number = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), number);
    assert_eq!(of_route("HEAD", "/v1/jobs").unwrap().name, "job:list");
    assert!(of_route("PATCH", "/v1/jobs").is_none());
}

fn rules(text: &str) -> Policy {
    let rules = file::rules(text).unwrap();
    Policy {
        rules: rules.into(),
    }
}

#[test]
fn a_file_replaces_single_rules_as_yaml_or_json() {
    for text in [
        "# ours\n\"job:get\": \"rule:owner or rule:operator\"\nmine: user_id:%(user_id)s\n\"job:cancel\": rule:mine\n",
        r#"{"job:get": "rule:owner or rule:operator", "mine": "user_id:%(user_id)s", "job:cancel": "rule:mine"}"#,
    ] {
        let policy = rules(text);
        assert_eq!(may(&policy, "job:get", Some("own"), None), "nrmao");
        assert_eq!(may(&policy, "job:get", Some("other"), None), "----o");
        assert_eq!(
            may(&policy, "job:cancel", Some("own"), Some("ann")),
            "nrmao"
        );
        assert_eq!(
            may(&policy, "job:cancel", Some("own"), Some("bob")),
            "-----"
        );
        assert_eq!(may(&policy, "job:retry", Some("own"), None), "--mao");
        let shown = policy.show();
        assert_eq!(shown.len(), ACTIONS.len() + 3);
        let mine = shown.last().unwrap();
        assert_eq!((mine.name.as_str(), mine.default), ("mine", None));
    }
    assert!(file::rules("{}").is_ok());
}

#[test]
fn what_is_not_known_is_equal_to_nothing() {
    let unscoped = Credentials {
        context: AuthContext {
            project: None,
            ..caller("admin", false).context
        },
        is_admin_project: false,
    };
    let policy = Policy::default();
    assert!(!policy.allows("job:get", &unscoped, Target::default()));
    assert!(policy.allows("kind:list", &unscoped, Target::default()));
    assert!(!policy.allows("no:such", &caller("admin", true), Target::default()));
}

#[test]
fn a_wrong_file_is_told_with_line_rule_column_and_reason() {
    let deep = format!("\"job:get\": \"{}@{}\"", "(".repeat(33), ")".repeat(33));
    let long = format!("a: \"{}\"", "x".repeat(5000));
    let chain = (0..40).map(|n| format!("r{n}: rule:r{}\n", n + 1));
    let chain = chain.collect::<Vec<_>>().concat();
    let wide: String = (0..20)
        .map(|n| format!("r{n}: rule:r{0} or rule:r{0}\n", n + 1))
        .chain(["r20: '@'\n".to_owned()])
        .collect();
    for (text, expected) in [
        (
            "\"job:get\": \"role:a &\"",
            "line 1: job:get: column 8: expected \"and\" or \"or\", found \"&\"",
        ),
        (
            "x: '@'\n\"job:get\": \"role:a or\"",
            "line 2: job:get: column 10: expected a check, found the end",
        ),
        (
            "\"job:get\": \"(role:a\"",
            "line 1: job:get: column 8: expected \")\", found the end",
        ),
        (
            "\"job:get\": \"team:a\"",
            "column 1: \"team\" is no check: role, rule, user_id, project_id, project_domain_id, is_admin_project",
        ),
        (
            "\"job:get\": \"not member\"",
            "column 5: expected a check such as \"role:member\", found \"member\"",
        ),
        (
            "\"job:get\": \"role:\"",
            "column 1: \"\": a name has 1 to 255 bytes",
        ),
        (
            "\"job:get\": \"project_id:%(projct)s\"",
            "column 1: \"%(projct)s\" is not known",
        ),
        (
            "\"job:get\": \"is_admin_project:yes\"",
            "is_admin_project is True or False",
        ),
        ("\"job:get\": \"\"", "column 1: the rule is empty"),
        (
            "\"job:gett\": \"@\"",
            "line 1: job:gett: there is no such action",
        ),
        (
            "\"job:get\": \"rule:ownr\"",
            "line 1: job:get: there is no rule ownr",
        ),
        (
            "a: rule:b\nb: not rule:a\n",
            "line 1: a: refers to itself, by a, b",
        ),
        (
            "a: rule:a\n\"job:get\": rule:a",
            "line 2: job:get: refers to a, which refers to itself",
        ),
        (
            "\"job:list\": \"user_id:%(user_id)s\"",
            "line 1: job:list: looks at %(user_id)s, which is not known there",
        ),
        (
            "owner: \"user_id:%(user_id)s\"",
            "job:create: looks at %(user_id)s",
        ),
        (
            "\"kind:list\": rule:owner",
            "line 1: kind:list: looks at %(project_id)s",
        ),
        (
            "\"job:get\": \"@\"\n\"job:get\": \"!\"\n",
            "line 2: job:get: is there twice",
        ),
        ("\"job:get\": [\"@\"]", "line 1: column "),
        ("- a\n- b\n", "line 1: column "),
        ("\"job:get\": \"@\n", "column "),
        (&deep, "column 33: more than 32 levels"),
        (&long, "column 1: a rule has at most 4096 bytes"),
        (&chain, "r0: more than 32 rules refer to each other"),
        (&wide, "r0: comes to more than 1000 checks"),
    ] {
        let wrong = file::rules(text).unwrap_err();
        let told: Vec<_> = wrong.iter().map(ToString::to_string).collect();
        assert!(
            told.iter().any(|w| w.contains(expected)),
            "{text:.80}\n{expected}\n{told:#?}"
        );
    }
    let large = "#".repeat(70_000);
    assert!(
        file::rules(&large).unwrap_err()[0]
            .why
            .contains("65536 bytes")
    );
    let error = Policy::from_file(Path::new("/nowhere/policy.yaml")).unwrap_err();
    assert_eq!(error.to_string(), "cannot read /nowhere/policy.yaml");
}

#[test]
fn not_binds_closest_and_or_least() {
    for (text, printed) in [
        (
            "role:a or role:b and not role:c",
            "role:a or role:b and not role:c",
        ),
        (
            "(role:a OR role:b) And role:c",
            "(role:a or role:b) and role:c",
        ),
        ("((role:a))", "role:a"),
        ("not (not @)", "not not @"),
        ("not(role:a or !)", "not (role:a or !)"),
        (
            "(role:a and role:b) and role:c",
            "role:a and role:b and role:c",
        ),
        ("(project_id:%(project_id)s)", "project_id:%(project_id)s"),
    ] {
        assert_eq!(parse(text).unwrap().to_string(), printed);
    }
}

/// `docs/policy.md` has this table; `VMCTL_UPDATE=1` writes it anew.
#[test]
fn the_documented_actions_are_those_of_the_code() {
    let mut table =
        "| action | allows | routes | default | may look at |\n|---|---|---|---|---|\n".to_owned();
    for action in ACTIONS {
        let routes = action
            .routes
            .iter()
            .map(|(method, path)| format!("`{method} {path}`"));
        let routes: Vec<_> = routes.collect();
        let looks = match action.scope {
            Scope::Service => "",
            Scope::Project => "`project_id`",
            Scope::Job => "`project_id`, `user_id`",
        };
        let (name, about, default) = (action.name, action.about, action.default);
        let routes = routes.join(", ");
        writeln!(
            table,
            "| `{name}` | {about} | {routes} | `{default}` | {looks} |"
        )
        .unwrap();
    }
    let page = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/policy.md"));
    vmctl_daemon::reference::check(page, "actions", &table).unwrap();
}

fn any_rule() -> impl Strategy<Value = Expr> {
    let name = "[a-z][a-z0-9_.-]{0,8}";
    let attribute = prop::sample::select(Attribute::ALL.map(|(_, attribute)| attribute).to_vec());
    let value = prop_oneof![
        name.prop_map(Value::Text),
        Just(Value::ProjectId),
        Just(Value::UserId)
    ];
    let check = (attribute, value).prop_map(|(attribute, value)| match attribute {
        Attribute::IsAdminProject => Expr::Is(attribute, Value::Text("True".to_owned())),
        _ => Expr::Is(attribute, value),
    });
    let leaf = prop_oneof![
        Just(Expr::Always),
        Just(Expr::Never),
        name.prop_map(Expr::Role),
        name.prop_map(Expr::Rule),
        check,
    ];
    leaf.prop_recursive(5, 40, 4, |rule| {
        prop_oneof![
            rule.clone().prop_map(|rule| Expr::Not(Box::new(rule))),
            prop::collection::vec(rule.clone(), 2..4).prop_map(Expr::all),
            prop::collection::vec(rule, 2..4).prop_map(Expr::any),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_printed_is_read_as_the_same(rule in any_rule()) {
        prop_assert_eq!(parse(&rule.to_string()).unwrap(), rule);
    }

    #[test]
    fn no_text_is_too_much_for_the_parser(text in any::<String>()) {
        let _ = parse(&text);
    }

    #[test]
    fn no_row_of_words_is_too_much_for_the_parser(
        words in prop::collection::vec(
            prop::sample::select(vec!["and", "or", "not", "(", ")", "@", "!", "role:a", "%(", ")s",
                "project_id:%(project_id)s", ":", "é", "\t"]),
            0..60,
        ),
        gap in prop::sample::select(vec!["", " "]),
    ) {
        let text = words.join(gap);
        match parse(&text) {
            Ok(rule) => prop_assert_eq!(parse(&rule.to_string()).unwrap(), rule),
            Err(fault) => prop_assert!((1..=text.chars().count() + 1).contains(&fault.column)),
        }
    }

    #[test]
    fn no_file_is_too_much(text in any::<String>()) {
        let _ = file::rules(&text);
    }
}
