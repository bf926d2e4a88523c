//! Single messages of the extended protocol, to be put together in any order.

use anyhow::Result;
use twinport_wire::pg::backend;
use twinport_wire::pg::frontend::{Target, build};

use super::raw::Raw;

impl Raw {
    /// Bind of a statement without parameters to a portal.
    pub(crate) fn bind(&mut self, portal: &str, name: &str) -> &mut Self {
        build::bind_text(&mut self.out, portal.as_bytes(), name.as_bytes(), &[]);
        self
    }

    /// Execute of a portal.
    pub(crate) fn execute(&mut self, portal: &str) -> &mut Self {
        build::execute(&mut self.out, portal.as_bytes(), 0);
        self
    }

    /// Describe of a portal.
    pub(crate) fn describe_portal(&mut self, portal: &str) -> &mut Self {
        build::describe(&mut self.out, Target::Portal(portal.as_bytes()));
        self
    }

    /// Close of a portal.
    pub(crate) fn close_portal(&mut self, portal: &str) -> &mut Self {
        build::close(&mut self.out, Target::Portal(portal.as_bytes()));
        self
    }

    /// Sends what was built, and a Sync; then the tags of so many batches.
    pub(crate) async fn batches(&mut self, count: usize) -> Result<String> {
        let mut tags = self.sync().await?;
        for _ in 1..count {
            tags.push(' ');
            tags.push_str(&self.until(backend::READY_FOR_QUERY).await?);
        }
        Ok(tags)
    }

    /// The rows that came since the last time.
    pub(crate) fn taken(&mut self) -> Vec<String> {
        std::mem::take(&mut self.rows)
    }

    /// A simple query's tags and rows.
    pub(crate) async fn ask(&mut self, text: &str) -> Result<(String, Vec<String>)> {
        self.taken();
        let tags = self.query(text).answer().await?;
        Ok((tags, self.taken()))
    }
}
