//! A TCP proxy that counts what leads through it, and cuts it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// A greeting, by which a monitor is known: it sends nothing else.
const GREETING: &[u8] = b"isMaster\0";

/// The proxy; it ends when dropped.
pub(crate) struct Gauge {
    /// Where it listens on 127.0.0.1.
    pub(crate) port: u16,
    counts: Arc<Counts>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Counts {
    working: AtomicUsize,
    most: AtomicUsize,
    monitors: AtomicUsize,
    cut: Notify,
}

impl Gauge {
    /// Leads to this port of the machine.
    pub(crate) async fn before(port: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let counts = Arc::<Counts>::default();
        let shared = Arc::clone(&counts);
        Ok(Self {
            port: listener.local_addr()?.port(),
            counts,
            task: tokio::spawn(async move {
                while let Ok((client, _)) = listener.accept().await {
                    let counts = Arc::clone(&shared);
                    tokio::spawn(async move {
                        let cut = counts.cut.notified();
                        tokio::select! {
                            _ = lead(client, port, &counts) => {}
                            () = cut => {}
                        }
                    });
                }
            }),
        })
    }

    /// How many connections are open that have sent more than greetings.
    pub(crate) fn working(&self) -> usize {
        self.counts.working.load(Ordering::SeqCst)
    }

    /// The most there were at one time.
    pub(crate) fn most(&self) -> usize {
        self.counts.most.load(Ordering::SeqCst)
    }

    /// How many connections are open that have sent nothing but greetings.
    pub(crate) fn monitors(&self) -> usize {
        self.counts.monitors.load(Ordering::SeqCst)
    }

    /// Cuts all that are open.
    pub(crate) fn cut(&self) {
        self.counts.cut.notify_waiters();
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A connection, as it is counted while it is open.
struct Counted<'a> {
    counts: &'a Counts,
    works: bool,
}

impl<'a> Counted<'a> {
    fn new(counts: &'a Counts) -> Self {
        counts.monitors.fetch_add(1, Ordering::SeqCst);
        Self {
            counts,
            works: false,
        }
    }

    fn hears(&mut self, bytes: &[u8]) {
        let greets = bytes.windows(GREETING.len()).any(|part| part == GREETING);
        if !self.works && !greets {
            self.works = true;
            self.counts.monitors.fetch_sub(1, Ordering::SeqCst);
            let now = self.counts.working.fetch_add(1, Ordering::SeqCst) + 1;
            self.counts.most.fetch_max(now, Ordering::SeqCst);
        }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let count = match self.works {
            true => &self.counts.working,
            false => &self.counts.monitors,
        };
        count.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Copies both ways until somebody leaves.
async fn lead(mut client: TcpStream, port: u16, counts: &Counts) -> Option<()> {
    let mut server = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let (mut asked, mut answered) = (vec![0; 16 * 1024], vec![0; 64 * 1024]);
    let mut counted = Counted::new(counts);
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let bytes = asked.get(..read.ok().filter(|&length| length > 0)?)?;
                counted.hears(bytes);
                server.write_all(bytes).await.ok()?;
            }
            read = server.read(&mut answered) => {
                let bytes = answered.get(..read.ok().filter(|&length| length > 0)?)?;
                client.write_all(bytes).await.ok()?;
            }
        }
    }
}
