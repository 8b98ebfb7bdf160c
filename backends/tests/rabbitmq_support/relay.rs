//! A relay in front of a broker, whose connections a test can cut.

use std::net::SocketAddr;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::AbortHandle,
};

/// What the relay does with connections.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Mode {
    /// Counts the cuts: connections of an earlier count end.
    cuts: u32,
    down: bool,
}

/// Listens on loopback and passes everything on.
pub struct Relay {
    pub address: SocketAddr,
    mode: watch::Sender<Mode>,
    listening: AbortHandle,
}

impl Relay {
    pub async fn start(target: (String, u16)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mode, _) = watch::channel(Mode {
            cuts: 0,
            down: false,
        });
        let modes = mode.clone();
        let listening = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let modes = modes.subscribe();
                if !modes.borrow().down {
                    tokio::spawn(pass_on(stream, target.clone(), modes));
                }
            }
        });
        Self {
            address,
            mode,
            listening: listening.abort_handle(),
        }
    }

    /// Ends every connection that is open now.
    pub fn cut(&self) {
        self.mode.send_modify(|mode| mode.cuts += 1);
    }

    /// Ends every connection and refuses new ones, or takes them again.
    pub fn set_down(&self, down: bool) {
        self.mode.send_modify(|mode| {
            mode.down = down;
            mode.cuts += 1;
        });
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.listening.abort();
        self.cut();
    }
}

async fn pass_on(mut stream: TcpStream, target: (String, u16), mut modes: watch::Receiver<Mode>) {
    let Ok(mut broker) = TcpStream::connect(target).await else {
        return;
    };
    let cuts = modes.borrow().cuts;
    tokio::select! {
        _ = copy_bidirectional(&mut stream, &mut broker) => {}
        _ = modes.wait_for(|mode| mode.cuts != cuts) => {}
    }
}
