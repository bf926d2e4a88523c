//! The queue, with connections that are nothing but numbers.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

#[derive(Default)]
struct Numbers {
    opened: AtomicUsize,
    /// So many can be opened; more are refused.
    most: Option<usize>,
}

struct Number {
    opened: Instant,
}

impl Connection for Number {
    type Affinity = ();

    fn fits(&self, (): &()) -> bool {
        true
    }

    fn is_alive(&mut self) -> bool {
        true
    }

    fn opened(&self) -> Instant {
        self.opened
    }
}

impl Connect for Numbers {
    type Connection = Number;
    type Error = &'static str;

    async fn connect(&self) -> Result<Number, &'static str> {
        let before = self.opened.fetch_add(1, Ordering::Relaxed);
        if self.most.is_some_and(|most| before >= most) {
            return Err("too many");
        }
        Ok(Number {
            opened: Instant::now(),
        })
    }

    async fn check(&self, connection: Number) -> Option<Number> {
        Some(connection)
    }
}

fn pool(size: usize, wait_timeout: Duration) -> Arc<Pool<Numbers>> {
    pool_of(Numbers::default(), size, wait_timeout, Quota::new(None))
}

fn pool_of(
    numbers: Numbers,
    size: usize,
    wait_timeout: Duration,
    quota: Arc<Quota>,
) -> Arc<Pool<Numbers>> {
    let settings = PoolSettings {
        size,
        wait_timeout,
        ..PoolSettings::default()
    };
    Pool::new(numbers, settings, quota, Arc::default())
}

#[tokio::test]
async fn who_waits_too_long_is_told_so() {
    let bound = Duration::from_millis(30);
    let pool = pool(1, bound);
    let lease = pool.acquire(&()).await.unwrap();
    let began = Instant::now();
    let (first, second) = tokio::join!(pool.acquire(&()), pool.acquire(&()));
    assert!(matches!(first, Err(AcquireError::Timeout(told)) if told == bound));
    assert!(matches!(second, Err(AcquireError::Timeout(_))));
    assert!(began.elapsed() >= bound);
    // Another queue is watched as the first was.
    assert!(pool.acquire(&()).await.is_err());
    lease.release();
    pool.acquire(&()).await.unwrap();
    assert_eq!(pool.connector().opened.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn who_has_gone_is_passed_over() {
    let pool = pool(1, Duration::from_secs(60));
    let lease = pool.acquire(&()).await.unwrap();
    let patience = Duration::from_millis(10);
    let gone = tokio::time::timeout(patience, pool.acquire(&())).await;
    assert!(gone.is_err());
    let waiting = tokio::spawn({
        let pool = Arc::clone(&pool);
        async move { pool.acquire(&()).await.map(Lease::release) }
    });
    while pool.census().waiting == 0 {
        tokio::task::yield_now().await;
    }
    lease.release();
    waiting.await.unwrap().unwrap();
    assert_eq!(pool.census().idle, 1);
}

#[tokio::test]
async fn a_full_pool_opens_no_more() {
    let pool = pool(2, Duration::from_secs(60));
    let held = [
        pool.acquire(&()).await.unwrap(),
        pool.acquire(&()).await.unwrap(),
    ];
    let waiting = pool.acquire(&());
    tokio::pin!(waiting);
    let patience = Duration::from_millis(10);
    assert!(tokio::time::timeout(patience, &mut waiting).await.is_err());
    assert_eq!(pool.connector().opened.load(Ordering::Relaxed), 2);
    // A connection that breaks makes room for one.
    let [broken, _other] = held;
    broken.close();
    waiting.await.unwrap();
    assert_eq!(pool.connector().opened.load(Ordering::Relaxed), 3);
}

/// Takes a connection and gives it back, over and over.
async fn hog(pool: Arc<Pool<Numbers>>) {
    loop {
        let lease = pool.acquire(&()).await.unwrap();
        tokio::task::yield_now().await;
        lease.release();
    }
}

#[tokio::test]
async fn a_busy_pool_gives_another_its_turn() {
    let quota = Quota::new(Some(1));
    let minute = Duration::from_secs(60);
    let busy = pool_of(Numbers::default(), 5, minute, Arc::clone(&quota));
    let other = pool_of(Numbers::default(), 5, minute, Arc::clone(&quota));
    let hogs: Vec<_> = (0..4)
        .map(|_| tokio::spawn(hog(Arc::clone(&busy))))
        .collect();
    while busy.census().waiting == 0 {
        tokio::task::yield_now().await;
    }
    let bound = Duration::from_secs(20);
    let turn = tokio::time::timeout(bound, other.acquire(&())).await;
    turn.unwrap().unwrap().release();
    assert!(quota.used() <= 1);
    // And the busy one has its connection again.
    let turn = tokio::time::timeout(bound, busy.acquire(&())).await;
    drop(turn.unwrap().unwrap());
    for hog in hogs {
        hog.abort();
    }
}

#[tokio::test]
async fn a_recycled_connection_is_not_handed_on() {
    let pool = pool(1, Duration::from_secs(60));
    let lease = pool.acquire(&()).await.unwrap();
    let waiting = tokio::spawn({
        let pool = Arc::clone(&pool);
        async move { pool.acquire(&()).await.map(Lease::release) }
    });
    while pool.census().waiting == 0 {
        tokio::task::yield_now().await;
    }
    pool.recycle();
    lease.release();
    waiting.await.unwrap().unwrap();
    assert_eq!(pool.connector().opened.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn who_waits_is_not_told_of_a_connection_too_many() {
    let numbers = Numbers {
        most: Some(1),
        ..Numbers::default()
    };
    let pool = pool_of(numbers, 4, Duration::from_secs(60), Quota::new(None));
    let lease = pool.acquire(&()).await.unwrap();
    let waiting = tokio::spawn({
        let pool = Arc::clone(&pool);
        async move { pool.acquire(&()).await.map(Lease::release) }
    });
    while pool.connector().opened.load(Ordering::Relaxed) < 2 || pool.census().opening > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(pool.census().waiting, 1);
    lease.release();
    waiting.await.unwrap().unwrap();
    // With none alive there is nothing to wait for.
    pool.recycle();
    assert!(matches!(
        pool.acquire(&()).await,
        Err(AcquireError::Connect("too many"))
    ));
}
