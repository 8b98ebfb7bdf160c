//! A relay in front of a service that speaks no TLS: it shows a certificate, or it does not, and remembers what
//! clients have said.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, Result};
use reqwest::Url;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy, split},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;
use vmctl_daemon::testing::Identity;

/// What is kept of what clients say.
const KEPT: usize = 64 * 1024;

type Said = Arc<Mutex<Vec<u8>>>;

/// A relay that runs.
pub struct Relay {
    address: SocketAddr,
    said: Said,
    task: JoinHandle<()>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Relay {
    /// Listens before the service of this URL, and speaks TLS if there is something to show.
    pub async fn before(url: &Url, shown: Option<&Identity>) -> Result<Self> {
        let host = url.host_str().context("no host")?.to_owned();
        let service = (host, url.port().context("no port")?);
        let acceptor = shown.map(acceptor).transpose()?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let said = Said::default();
        let heard = Arc::clone(&said);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (acceptor, service) = (acceptor.clone(), service.clone());
                let heard = Arc::clone(&heard);
                // What goes wrong here is seen by the client.
                tokio::spawn(async move {
                    let service = TcpStream::connect(service).await?;
                    match acceptor {
                        Some(acceptor) => {
                            pass(acceptor.accept(client).await?, service, heard).await
                        }
                        None => pass(client, service, heard).await,
                    }
                });
            }
        });
        Ok(Self {
            address,
            said,
            task,
        })
    }

    /// Returns the URL by which clients come here instead, by this scheme.
    pub fn url(&self, url: &Url, scheme: &str) -> Result<String> {
        let (_, rest) = url.as_str().split_once("://").context("no scheme")?;
        let mut here: Url = format!("{scheme}://{rest}").parse()?;
        here.set_host(Some("127.0.0.1"))?;
        let set = here.set_port(Some(self.address.port()));
        set.ok().context("the URL takes no port")?;
        Ok(here.into())
    }

    /// Returns what clients have said, inside of TLS if it is spoken.
    pub fn said(&self) -> Vec<u8> {
        self.said
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

fn acceptor(shown: &Identity) -> Result<TlsAcceptor> {
    let chain = vec![CertificateDer::from_pem_slice(
        shown.certificate.as_bytes(),
    )?];
    let key = PrivateKeyDer::from_pem_slice(shown.key.as_bytes())?;
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn pass(
    client: impl AsyncRead + AsyncWrite,
    service: TcpStream,
    heard: Said,
) -> std::io::Result<()> {
    let (mut from_client, mut to_client) = split(client);
    let (mut from_service, mut to_service) = service.into_split();
    let up = async {
        let mut buffer = [0; 4096];
        loop {
            let read = from_client.read(&mut buffer).await?;
            if read == 0 {
                return to_service.shutdown().await;
            }
            let said = &buffer[..read];
            {
                let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                let room = KEPT.saturating_sub(heard.len()).min(read);
                heard.extend_from_slice(&said[..room]);
            }
            to_service.write_all(said).await?;
        }
    };
    let down = async {
        copy(&mut from_service, &mut to_client).await?;
        to_client.shutdown().await
    };
    tokio::try_join!(up, down)?;
    Ok(())
}
