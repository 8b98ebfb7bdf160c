//! What a command has at hand: options, output, and the parts that are made on first use.

use std::{cell::OnceCell, fmt::Write as _, fs, future::Future, io, path::PathBuf};

use tokio::runtime::Runtime;

use crate::{
    api::Api,
    cli::Global,
    client::{self, Client, Limits},
    config::Config,
    credentials::{self, Credential},
    endpoint::Endpoint,
    error::CliError,
    exit::Exit,
    output::Output,
    paths::Paths,
    trace::Trace,
};

/// Where the server is when nobody says anything.
const DEFAULT_ENDPOINT: &str = "http://127.0.0.1:8080";

/// One run of the program.
pub struct App {
    /// The global options.
    pub global: Global,
    /// Where everything is printed.
    pub out: Output,
    runtime: OnceCell<Runtime>,
    trace: OnceCell<Option<Trace>>,
}

impl App {
    /// Nothing is opened yet.
    pub const fn new(global: Global, out: Output) -> Self {
        Self {
            global,
            out,
            runtime: OnceCell::new(),
            trace: OnceCell::new(),
        }
    }

    /// Runs a future to its end on the one thread of this process.
    pub fn block_on<F: Future>(&self, future: F) -> Result<F::Output, CliError> {
        if self.runtime.get().is_none() {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error: io::Error| {
                    CliError::new(Exit::Internal, "the runtime cannot be started")
                        .why(error.to_string())
                })?;
            // The cell was empty a line above, and this type is not shared between threads.
            let _ = self.runtime.set(runtime);
        }
        match self.runtime.get() {
            Some(runtime) => Ok(runtime.block_on(future)),
            None => Err(CliError::new(
                Exit::Internal,
                "the runtime cannot be started",
            )),
        }
    }

    /// Finds this user's directories.
    pub fn paths(&self) -> Result<Paths, CliError> {
        Paths::find(self.global.config_dir.clone())
    }

    /// Reads the configuration.
    pub fn config(&self) -> Result<Config, CliError> {
        let config = Config::load(&self.paths()?.config_file)?;
        for key in &config.unknown {
            self.out.trace(format!(
                "config.toml: key {key} is not known to this version and is kept"
            ));
        }
        Ok(config)
    }

    /// Returns the server's address: option or environment, saved login, default.
    pub fn endpoint(&self) -> Result<Endpoint, CliError> {
        if let Some(endpoint) = &self.global.endpoint {
            return Ok(endpoint.clone());
        }
        // Without a home there is no saved login; the default still holds.
        let saved = match self.paths() {
            Ok(_) => self.config()?.context.endpoint,
            Err(_) => None,
        };
        match saved {
            Some(endpoint) => Ok(endpoint),
            None => DEFAULT_ENDPOINT
                .parse()
                .map_err(|_| CliError::new(Exit::Internal, "the default endpoint is not a URL")),
        }
    }

    /// Returns the file with certificates to trust besides the system's: option or environment, or that of the
    /// saved login, for its own server alone.
    pub fn ca_file(&self, endpoint: &Endpoint) -> Result<Option<PathBuf>, CliError> {
        if let Some(file) = &self.global.ca_file {
            return Ok(Some(file.clone()));
        }
        // Without a home there is no saved login.
        if self.paths().is_err() {
            return Ok(None);
        }
        let saved = self.config()?.context;
        let same = saved.endpoint.is_some_and(|own| own.same_origin(endpoint));
        Ok(saved.ca_file.filter(|_| same).map(PathBuf::from))
    }

    /// Reads that file.
    pub fn trusted(&self, endpoint: &Endpoint) -> Result<Option<Vec<u8>>, CliError> {
        let Some(file) = self.ca_file(endpoint)? else {
            return Ok(None);
        };
        let read = fs::read(&file).map_err(|error| error.to_string());
        let checked = read.and_then(|pem| client::certificates(&pem).map(|_| pem));
        checked.map(Some).map_err(|why| {
            CliError::new(Exit::Config, format!("{} cannot be used", file.display()))
                .why(why)
                .next("name a file with the certificate of the server's authority, PEM: --ca-file FILE")
        })
    }

    /// Returns a client that sends no token.
    pub fn anonymous(&self) -> Result<Api, CliError> {
        self.api(None)
    }

    /// Returns a client that sends the token, which may wait for the keyring (bounded).
    pub fn authenticated(&self) -> Result<Api, CliError> {
        let credential = credentials::load(self)?;
        self.api(Some(credential))
    }

    /// Returns a client that sends this token.
    pub fn authenticated_with(&self, credential: Credential) -> Result<Api, CliError> {
        self.api(Some(credential))
    }

    fn api(&self, credential: Option<Credential>) -> Result<Api, CliError> {
        let endpoint = self.endpoint()?;
        if credential.is_some() {
            self.warn_if_exposed(&endpoint);
        }
        let limits = Limits {
            connect: self.global.connect_timeout,
            request: self.global.http_timeout,
        };
        let trusted = if client::may_use_tls(&endpoint) {
            self.trusted(&endpoint)?
        } else {
            None
        };
        let client = Client::new(endpoint, trusted.as_deref(), credential, limits, self.out)?;
        let traceparent = self.trace().and_then(Trace::header);
        Ok(Api::new(client.traced(traceparent)))
    }

    fn trace(&self) -> Option<&Trace> {
        let trace = self.trace.get_or_init(|| {
            let trace = Trace::of_this_run(self.global.trace)?;
            if self.global.trace {
                self.out.warn(format!("trace {}", trace.id()));
            }
            Some(trace)
        });
        trace.as_ref()
    }

    /// Warns when a secret is about to cross a network in clear.
    pub fn warn_if_exposed(&self, endpoint: &Endpoint) {
        if endpoint.is_exposed() {
            self.out.warn(format!(
                "warning: {endpoint} is plain http: anyone on the way can read the token; use https"
            ));
        }
    }

    /// Returns the options that a suggested command needs to reach the same server.
    pub fn endpoint_option(&self) -> String {
        let endpoint = self.global.endpoint.as_ref().map(ToString::to_string);
        let file = self.global.ca_file.as_ref();
        let file = file.map(|file| file.display().to_string());
        let mut options = String::new();
        for (option, variable, value) in [
            ("--endpoint", "VMCTL_ENDPOINT", endpoint),
            ("--ca-file", "VMCTL_CA_FILE", file),
        ] {
            // What the environment says is said to the suggested command too.
            let from_env = std::env::var_os(variable).is_some();
            if let Some(value) = value.filter(|_| !from_env) {
                // Writing to a string cannot fail.
                let _ = write!(options, " {option} {}", crate::text::shell_word(&value));
            }
        }
        options
    }
}
