//! What a login sends: one or more methods, and the scope that is asked for.

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use crate::token::Token;

/// A login: every method that is given is checked, and the token is scoped as asked.
#[derive(Clone, Debug)]
pub struct Login {
    /// How the user proves who they are; several for a login with more than one factor.
    pub methods: Vec<Method>,
    /// What the token is good for. Ignored with an application credential, whose scope is fixed:
    /// Keystone refuses a login that names one.
    pub scope: Scope,
    /// The receipt of a first step that succeeded
    /// ([`MfaRequired`](crate::MfaRequired)); `methods` are then those that were missing.
    pub receipt: Option<Token>,
}

/// One way to prove who one is.
#[derive(Clone, Debug)]
pub enum Method {
    /// A user and a password.
    Password {
        /// Who.
        user: UserRef,
        /// Their password.
        password: SecretString,
    },
    /// A user and the one-time code that their device shows now.
    Totp {
        /// Who.
        user: UserRef,
        /// The code, usually six digits.
        passcode: SecretString,
    },
    /// A token, to get another one with a different scope. The new one ends with the old one.
    Token(Token),
    /// An application credential named by its id.
    ApplicationCredential {
        /// Its id.
        id: String,
        /// Its secret.
        secret: SecretString,
    },
    /// An application credential named by its owner and its name.
    NamedApplicationCredential {
        /// The owner.
        user: UserRef,
        /// Its name, unique for the owner.
        name: String,
        /// Its secret.
        secret: SecretString,
    },
}

/// A user, as one names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserRef {
    /// By id, which needs no domain.
    Id(String),
    /// By name, unique inside a domain.
    Name {
        /// The name.
        name: String,
        /// The domain of the user.
        domain: DomainRef,
    },
}

/// A project, as one names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProjectRef {
    /// By id, which needs no domain.
    Id(String),
    /// By name, unique inside a domain.
    Name {
        /// The name.
        name: String,
        /// The domain of the project.
        domain: DomainRef,
    },
}

/// A domain, as one names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DomainRef {
    /// By id.
    Id(String),
    /// By name.
    Name(String),
}

/// What a token is good for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// The user's default project if they have one, else nothing.
    #[default]
    UserDefault,
    /// Nothing, even if the user has a default project.
    Unscoped,
    /// A project.
    Project(ProjectRef),
    /// A domain.
    Domain(DomainRef),
    /// The whole deployment.
    System,
}

impl Login {
    /// A login by name and password.
    pub fn password(user: UserRef, password: SecretString, scope: Scope) -> Self {
        Self::new(Method::Password { user, password }, scope)
    }

    /// A login by one method.
    pub fn new(method: Method, scope: Scope) -> Self {
        Self {
            methods: vec![method],
            scope,
            receipt: None,
        }
    }

    /// The body of `POST /v3/auth/tokens`.
    pub(crate) fn body(&self) -> Value {
        let mut identity = Map::new();
        let names: Vec<_> = self.methods.iter().map(Method::name).collect();
        identity.insert("methods".into(), json!(names));
        for method in &self.methods {
            identity.insert(method.name().into(), method.body());
        }
        let mut auth = Map::new();
        auth.insert("identity".into(), identity.into());
        if let (false, Some(scope)) = (self.has_fixed_scope(), self.scope.body()) {
            auth.insert("scope".into(), scope);
        }
        json!({ "auth": auth })
    }

    fn has_fixed_scope(&self) -> bool {
        self.methods
            .iter()
            .any(|method| method.name() == "application_credential")
    }
}

impl Method {
    /// Keystone's word for the method.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Password { .. } => "password",
            Self::Totp { .. } => "totp",
            Self::Token(_) => "token",
            Self::ApplicationCredential { .. } | Self::NamedApplicationCredential { .. } => {
                "application_credential"
            }
        }
    }

    fn body(&self) -> Value {
        match self {
            Self::Password { user, password } => {
                json!({ "user": user.with("password", password) })
            }
            Self::Totp { user, passcode } => json!({ "user": user.with("passcode", passcode) }),
            Self::Token(token) => json!({ "id": token.expose() }),
            Self::ApplicationCredential { id, secret } => {
                json!({ "id": id, "secret": secret.expose_secret() })
            }
            Self::NamedApplicationCredential { user, name, secret } => {
                json!({ "name": name, "user": user.fields(), "secret": secret.expose_secret() })
            }
        }
    }
}

impl UserRef {
    fn fields(&self) -> Map<String, Value> {
        match self {
            Self::Id(id) => object("id", id),
            Self::Name { name, domain } => named(name, domain),
        }
    }

    fn with(&self, key: &str, secret: &SecretString) -> Map<String, Value> {
        let mut fields = self.fields();
        fields.insert(key.into(), secret.expose_secret().into());
        fields
    }
}

impl ProjectRef {
    fn fields(&self) -> Map<String, Value> {
        match self {
            Self::Id(id) => object("id", id),
            Self::Name { name, domain } => named(name, domain),
        }
    }
}

impl DomainRef {
    fn fields(&self) -> Map<String, Value> {
        match self {
            Self::Id(id) => object("id", id),
            Self::Name(name) => object("name", name),
        }
    }
}

impl Scope {
    fn body(&self) -> Option<Value> {
        match self {
            Self::UserDefault => None,
            Self::Unscoped => Some(json!("unscoped")),
            Self::Project(project) => Some(json!({ "project": project.fields() })),
            Self::Domain(domain) => Some(json!({ "domain": domain.fields() })),
            Self::System => Some(json!({ "system": { "all": true } })),
        }
    }
}

fn object(key: &str, value: &str) -> Map<String, Value> {
    Map::from_iter([(key.to_owned(), value.into())])
}

fn named(name: &str, domain: &DomainRef) -> Map<String, Value> {
    let mut fields = object("name", name);
    fields.insert("domain".into(), domain.fields().into());
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joe() -> UserRef {
        UserRef::Name {
            name: "joe".into(),
            domain: DomainRef::Name("Default".into()),
        }
    }

    #[test]
    fn password_and_project_as_the_api_documents_them() {
        let demo = ProjectRef::Name {
            name: "demo".into(),
            domain: DomainRef::Id("default".into()),
        };
        let login = Login::password(joe(), "1234".into(), Scope::Project(demo));
        let expected = json!({ "auth": {
            "identity": {
                "methods": ["password"],
                "password": { "user": {
                    "name": "joe", "domain": { "name": "Default" }, "password": "1234",
                } },
            },
            "scope": { "project": { "name": "demo", "domain": { "id": "default" } } },
        } });
        assert_eq!(login.body(), expected);
    }

    #[test]
    fn two_factors_in_one_step() {
        let totp = Method::Totp {
            user: UserRef::Id("7".into()),
            passcode: "123456".into(),
        };
        let mut login = Login::password(UserRef::Id("7".into()), "1234".into(), Scope::UserDefault);
        login.methods.push(totp);
        let expected = json!({ "auth": { "identity": {
            "methods": ["password", "totp"],
            "password": { "user": { "id": "7", "password": "1234" } },
            "totp": { "user": { "id": "7", "passcode": "123456" } },
        } } });
        assert_eq!(login.body(), expected);
    }

    #[test]
    fn an_application_credential_never_sends_a_scope() {
        let method = Method::ApplicationCredential {
            id: "a1".into(),
            secret: "s".into(),
        };
        let login = Login::new(method, Scope::Project(ProjectRef::Id("p".into())));
        let expected = json!({ "auth": { "identity": {
            "methods": ["application_credential"],
            "application_credential": { "id": "a1", "secret": "s" },
        } } });
        assert_eq!(login.body(), expected);
    }

    #[test]
    fn scopes() {
        let sent =
            |scope: Scope| Login::password(joe(), "x".into(), scope).body()["auth"]["scope"].take();
        assert_eq!(sent(Scope::UserDefault), Value::Null);
        assert_eq!(sent(Scope::Unscoped), json!("unscoped"));
        assert_eq!(sent(Scope::System), json!({ "system": { "all": true } }));
        let domain = Scope::Domain(DomainRef::Name("Default".into()));
        assert_eq!(sent(domain), json!({ "domain": { "name": "Default" } }));
    }

    #[test]
    fn a_login_does_not_print_its_secrets() {
        let printed = format!(
            "{:?}",
            Login::password(joe(), "hunter2".into(), Scope::System)
        );
        assert!(
            printed.contains("joe") && !printed.contains("hunter2"),
            "{printed}"
        );
    }
}
