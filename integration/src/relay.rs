//! A TCP proxy between two of ours, which a test watches what goes through.

use std::sync::Arc;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// What watches one connection, until it is over.
pub trait Watch: Send + 'static {
    /// Sees what the client has sent; whether it goes on to the server. If not, the connection is closed.
    fn asked(&mut self, bytes: &[u8]) -> bool;

    /// Sees what the server has sent; whether it goes on to the client. If not, the connection is closed.
    fn answered(&mut self, bytes: &[u8]) -> bool;
}

/// The proxy; it ends when dropped.
pub struct Relay {
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    cut: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Relay {
    /// Leads to this port of the machine; every connection there has a watch of its own.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn before<W: Watch>(
        port: u16,
        watch: impl Fn() -> W + Send + Sync + 'static,
    ) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let cut = Arc::<Notify>::default();
        let (ends, watch) = (Arc::clone(&cut), Arc::new(watch));
        Ok(Self {
            port: listener.local_addr()?.port(),
            cut,
            task: tokio::spawn(async move {
                while let Ok((client, _)) = listener.accept().await {
                    let (ends, watch) = (Arc::clone(&ends), Arc::clone(&watch));
                    tokio::spawn(async move {
                        let end = ends.notified();
                        tokio::select! {
                            _ = lead(client, port, &*watch) => {}
                            () = end => {}
                        }
                    });
                }
            }),
        })
    }

    /// Cuts all connections that are open.
    pub fn cut(&self) {
        self.cut.notify_waiters();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Copies both ways until the watch ends it or somebody leaves.
async fn lead<W: Watch>(mut client: TcpStream, port: u16, watch: impl Fn() -> W) -> Option<()> {
    let mut server = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let (mut asked, mut answered) = (vec![0; 256 * 1024], vec![0; 256 * 1024]);
    let mut watch = watch();
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let bytes = asked.get(..read.ok().filter(|&length| length > 0)?)?;
                if !watch.asked(bytes) {
                    return None;
                }
                server.write_all(bytes).await.ok()?;
            }
            read = server.read(&mut answered) => {
                let bytes = answered.get(..read.ok().filter(|&length| length > 0)?)?;
                if !watch.answered(bytes) {
                    return None;
                }
                client.write_all(bytes).await.ok()?;
            }
        }
    }
}
