//! What `OS_*` variables and the files of a cloud come to.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, helpers included"
)]

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use secrecy::ExposeSecret;
use tempfile::TempDir;
use vmctl_keystone::cloud::{Cloud, CloudError, Sources};
use vmctl_keystone::{DomainRef, Method, ProjectRef, Scope, UserRef};

/// Variables and files of a test's own.
struct World {
    directory: TempDir,
    variables: HashMap<String, String>,
}

impl World {
    fn new(variables: &[(&str, &str)]) -> Self {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self {
            directory: TempDir::new().unwrap(),
            variables: variables.iter().map(own).collect(),
        }
    }

    /// Writes a file; `path` is below `home`, `work` or `etc`.
    fn file(self, path: &str, text: &str) -> Self {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.directory.path().join(path)
    }

    fn load(&self, name: Option<&str>) -> Result<Cloud, CloudError> {
        let home = self.path("home").to_string_lossy().into_owned();
        let variable = |name: &str| match name {
            "HOME" => Some(home.clone()),
            _ => self.variables.get(name).cloned(),
        };
        Cloud::load(
            name,
            &Sources {
                variable: &variable,
                working_directory: Some(&self.path("work")),
                system_directory: &self.path("etc"),
            },
        )
    }
}

fn named(name: &str, domain: DomainRef) -> UserRef {
    UserRef::Name {
        name: name.into(),
        domain,
    }
}

fn domain(name: &str) -> DomainRef {
    DomainRef::Name(name.into())
}

const DEV: &str = "
clouds:
  dev:
    auth:
      auth_url: http://id.example/v3
      username: joe
      password: 1234
      user_domain_name: People
      project_name: demo
      project_domain_id: default
    region_name: north
    interface: public
    networks: [{name: a, routes_externally: true}]
  empty:
";

#[test]
fn variables_alone() {
    let world = World::new(&[
        ("OS_AUTH_URL", "http://id.example/v3"),
        ("OS_USERNAME", "joe"),
        ("OS_PASSWORD", "1234"),
        ("OS_USER_DOMAIN_NAME", "People"),
        ("OS_PROJECT_NAME", "demo"),
        ("OS_PROJECT_ID", ""),
        ("OS_REGION_NAME", "north"),
    ]);
    let cloud = world.load(None).unwrap();
    assert_eq!(cloud.url().unwrap().as_str(), "http://id.example/v3");
    assert_eq!(cloud.region.as_deref(), Some("north"));
    assert!(cloud.files.is_empty());
    let login = cloud.login().unwrap();
    let [Method::Password { user, password }] = &login.methods[..] else {
        panic!("{login:?}")
    };
    assert_eq!(*user, named("joe", domain("People")));
    assert_eq!(password.expose_secret(), "1234");
    let demo = ProjectRef::Name {
        name: "demo".into(),
        domain: domain("Default"),
    };
    assert_eq!(login.scope, Scope::Project(demo));
}

#[test]
fn a_named_cloud() {
    let world = World::new(&[]).file("home/.config/openstack/clouds.yaml", DEV);
    let cloud = world.load(Some("dev")).unwrap();
    assert_eq!(cloud.name.as_deref(), Some("dev"));
    assert_eq!(
        cloud.files,
        [world.path("home/.config/openstack/clouds.yaml")]
    );
    assert_eq!(cloud.region.as_deref(), Some("north"));
    // Unquoted digits are a password like any other.
    assert_eq!(cloud.password.as_ref().unwrap().expose_secret(), "1234");
    assert_eq!(cloud.user, Some(named("joe", domain("People"))));
    let demo = ProjectRef::Name {
        name: "demo".into(),
        domain: DomainRef::Id("default".into()),
    };
    assert_eq!(cloud.login().unwrap().scope, Scope::Project(demo));
}

#[test]
fn a_file_is_read_only_for_a_cloud_that_is_named() {
    let broken = World::new(&[]).file("work/clouds.yaml", ": : :");
    assert!(broken.load(None).unwrap().auth_url.is_none());
    let world = World::new(&[("OS_CLOUD", "dev")]).file("work/clouds.yaml", DEV);
    assert_eq!(
        world.load(None).unwrap().files,
        [world.path("work/clouds.yaml")]
    );
}

#[test]
fn the_first_file_wins() {
    let places = [
        ("special.yaml", "special"),
        ("work/clouds.yaml", "work"),
        ("xdg/openstack/clouds.yml", "xdg"),
        ("home/.config/openstack/clouds.yaml", "home"),
        ("etc/clouds.json", "etc"),
    ];
    for first in 0..places.len() {
        let mut world = World::new(&[]);
        let xdg = world.path("xdg").to_string_lossy().into_owned();
        world.variables.insert("XDG_CONFIG_HOME".into(), xdg);
        for (path, name) in &places[first..] {
            let text = format!(r#"{{"clouds": {{"c": {{"auth": {{"username": "{name}"}}}}}}}}"#);
            world = world.file(path, &text);
        }
        if first == 0 {
            let special = world.path("special.yaml").to_string_lossy().into_owned();
            world
                .variables
                .insert("OS_CLIENT_CONFIG_FILE".into(), special);
        }
        let cloud = world.load(Some("c")).unwrap();
        assert_eq!(cloud.user, Some(named(places[first].1, domain("Default"))));
    }
}

#[test]
fn secrets_are_laid_over() {
    let secure = "clouds: {dev: {auth: {password: from-secure}}, other: {}}";
    let world = World::new(&[])
        .file("etc/clouds.yaml", DEV)
        .file("home/.config/openstack/secure.yaml", secure);
    let cloud = world.load(Some("dev")).unwrap();
    assert_eq!(
        cloud.password.as_ref().unwrap().expose_secret(),
        "from-secure"
    );
    assert_eq!(cloud.user, Some(named("joe", domain("People"))));
    assert_eq!(cloud.files.len(), 2);
}

#[test]
fn variables_replace_whole_groups() {
    let world = World::new(&[("OS_USER_ID", "u1"), ("OS_SYSTEM_SCOPE", "all")])
        .file("work/clouds.yaml", DEV);
    let cloud = world.load(Some("dev")).unwrap();
    assert_eq!(cloud.user, Some(UserRef::Id("u1".into())));
    assert_eq!(cloud.scope, Scope::System);
}

#[test]
fn credentials_of_one_cloud_never_go_to_another() {
    let same =
        World::new(&[("OS_AUTH_URL", "http://id.example/v3/")]).file("work/clouds.yaml", DEV);
    assert!(same.load(Some("dev")).is_ok());
    let other = World::new(&[("OS_AUTH_URL", "http://id.evil/v3")]).file("work/clouds.yaml", DEV);
    let error = other.load(Some("dev")).unwrap_err();
    assert!(
        matches!(error, CloudError::ConflictingAddress(_)),
        "{error}"
    );
}

#[test]
fn the_kind_of_login_is_what_is_said_or_what_is_given() {
    let methods = |variables: &[(&str, &str)]| {
        let login = World::new(variables).load(None).unwrap().login();
        login.map(|login| login.methods.iter().map(Method::name).collect::<Vec<_>>())
    };
    let user = [
        ("OS_USERNAME", "joe"),
        ("OS_PASSWORD", "x"),
        ("OS_PASSCODE", "123456"),
    ];
    assert_eq!(methods(&user).unwrap(), ["password", "totp"]);
    let totp = [&user[..], &[("OS_AUTH_TYPE", "v3totp")]].concat();
    assert_eq!(methods(&totp).unwrap(), ["totp"]);
    assert_eq!(methods(&[("OS_TOKEN", "abc")]).unwrap(), ["token"]);
    let credential = [
        ("OS_AUTH_TYPE", "v3applicationcredential"),
        ("OS_APPLICATION_CREDENTIAL_ID", "a1"),
        ("OS_APPLICATION_CREDENTIAL_SECRET", "s"),
    ];
    assert_eq!(methods(&credential).unwrap(), ["application_credential"]);
    let unknown = methods(&[("OS_AUTH_TYPE", "v3oidcpassword")]).unwrap_err();
    assert!(
        matches!(unknown, CloudError::Unusable("auth_type", _)),
        "{unknown}"
    );
}

#[test]
fn what_is_missing_is_named() {
    let missing = |variables: &[(&str, &str)]| {
        let cloud = World::new(variables).load(None).unwrap();
        cloud.login().unwrap_err().to_string()
    };
    assert_eq!(missing(&[]), "OS_USERNAME is not set");
    assert_eq!(missing(&[("OS_USERNAME", "joe")]), "OS_PASSWORD is not set");
    let credential = [("OS_APPLICATION_CREDENTIAL_SECRET", "s")];
    assert_eq!(
        missing(&credential),
        "OS_APPLICATION_CREDENTIAL_ID is not set"
    );
    let url = World::new(&[]).load(None).unwrap().url().unwrap_err();
    assert_eq!(url.to_string(), "OS_AUTH_URL is not set");
}

#[test]
fn bad_files_are_named_and_not_quoted() {
    let error = |text: &str, name: &str| {
        let world = World::new(&[]).file("work/clouds.yaml", text);
        let error = world.load(Some(name)).unwrap_err();
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        error
    };
    let cut = "clouds:\n  dev:\n    auth:\n      password: [hunter2";
    assert!(matches!(error(cut, "dev"), CloudError::Parse { .. }));
    let list = "clouds:\n  dev:\n    auth:\n      password: [hunter2]\n";
    assert!(matches!(
        error(list, "dev"),
        CloudError::Parse { line: 4, .. }
    ));
    assert!(matches!(error(DEV, "prod"), CloudError::Unknown { .. }));
    assert!(matches!(error(DEV, "empty"), CloudError::Unknown { .. }));
    let large = format!("# {}", "x".repeat(1024 * 1024));
    assert!(matches!(error(&large, "dev"), CloudError::Read { .. }));
    let profile = "clouds: {dev: {profile: vendor}}";
    assert!(matches!(
        error(profile, "dev"),
        CloudError::Unusable("profile", _)
    ));
    let unverified = "clouds: {dev: {verify: false, auth: {auth_url: 'https://id.example'}}}";
    assert!(matches!(
        error(unverified, "dev"),
        CloudError::Unusable("verify", _)
    ));

    let none = World::new(&[]).load(Some("dev")).unwrap_err();
    assert!(matches!(none, CloudError::NoFile(_)), "{none}");
    let absent = World::new(&[("OS_CLIENT_CONFIG_FILE", "/nonexistent/clouds.yaml")]);
    let absent = absent.load(Some("dev")).unwrap_err();
    assert!(
        matches!(absent, CloudError::Read { ref file, .. } if file == Path::new("/nonexistent/clouds.yaml"))
    );
}
