//! The admin HTTP port: `/metrics`, `/healthz`, `/readyz`.

mod exposition;
mod metrics;

use std::net::SocketAddr;

use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use twinport_core::drain::Drain;

use crate::running::Wings;

/// Serves until drain is over.
pub(crate) async fn serve(
    address: SocketAddr,
    wings: Wings,
    drain: Drain,
) -> anyhow::Result<(SocketAddr, JoinHandle<()>)> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address} (admin.http)"))?;
    let address = listener.local_addr()?;
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state((wings, drain));
    let task = tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the admin HTTP port ended");
        }
    });
    Ok((address, task))
}

async fn ready(State((_, drain)): State<(Wings, Drain)>) -> (StatusCode, &'static str) {
    if drain.is_draining() {
        (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n")
    } else {
        (StatusCode::OK, "ready\n")
    }
}

async fn metrics(State((wings, drain)): State<(Wings, Drain)>) -> impl IntoResponse {
    (
        [(CONTENT_TYPE, exposition::CONTENT_TYPE)],
        metrics::render(&wings, &drain),
    )
}
