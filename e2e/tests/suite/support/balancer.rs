//! A load balancer before servers: it passes connections on to those that say that they are ready.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result};
use reqwest::StatusCode;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::interval,
};

/// How often it asks each server whether it is ready.
const PROBE_EVERY: Duration = Duration::from_millis(500);

/// A balancer that runs.
pub struct Balancer {
    pub address: SocketAddr,
    servers: Arc<Mutex<Servers>>,
    // It ends with them.
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct Servers {
    all: Vec<SocketAddr>,
    ready: Vec<SocketAddr>,
    turn: usize,
}

impl Servers {
    fn next(&mut self) -> Option<SocketAddr> {
        self.turn += 1;
        let turn = self.turn.checked_rem(self.ready.len())?;
        self.ready.get(turn).copied()
    }
}

impl Balancer {
    /// Listens before these servers, which are ready.
    pub async fn before(servers: Vec<SocketAddr>, http: &reqwest::Client) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let servers = Arc::new(Mutex::new(Servers {
            ready: servers.clone(),
            all: servers,
            turn: 0,
        }));
        let mut tasks = JoinSet::new();
        tasks.spawn(balance(listener, Arc::clone(&servers)));
        tasks.spawn(probe(http.clone(), Arc::clone(&servers)));
        Ok(Self {
            address,
            servers,
            _tasks: tasks,
        })
    }

    /// Has one more server from its next look on.
    pub fn add(&self, server: SocketAddr) {
        lock(&self.servers).all.push(server);
    }

    /// Says whether a server gets connections.
    pub fn knows(&self, server: SocketAddr) -> bool {
        lock(&self.servers).ready.contains(&server)
    }
}

fn lock(servers: &Mutex<Servers>) -> MutexGuard<'_, Servers> {
    servers.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn balance(listener: TcpListener, servers: Arc<Mutex<Servers>>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let (Ok((mut client, _)), Some(server)) = (accepted, lock(&servers).next()) else {
            continue;
        };
        // What goes wrong here is seen by the client.
        connections.spawn(async move {
            let mut server = TcpStream::connect(server).await?;
            copy_bidirectional(&mut client, &mut server).await
        });
    }
}

async fn probe(http: reqwest::Client, servers: Arc<Mutex<Servers>>) {
    let mut looks = interval(PROBE_EVERY);
    loop {
        looks.tick().await;
        let all = lock(&servers).all.clone();
        let mut ready = Vec::new();
        for server in all {
            if is_ready(&http, server).await.unwrap_or(false) {
                ready.push(server);
            }
        }
        lock(&servers).ready = ready;
    }
}

async fn is_ready(http: &reqwest::Client, server: SocketAddr) -> Result<bool> {
    let url = format!("http://{server}/health/ready");
    let answer = http.get(url).send().await.context("no answer")?;
    Ok(answer.status() == StatusCode::OK)
}
