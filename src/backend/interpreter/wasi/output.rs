//! What a command writes to its standard streams, up to a limit.

use async_trait::async_trait;
use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::pipe::ClosedOutputStream;
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use crate::error::GuestFault;
use crate::sync::{Arc, Mutex};

/// Clones are the same stream.
#[derive(Clone)]
pub(super) struct Written {
    stream: &'static str,
    limit: usize,
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl Written {
    pub(super) fn new(stream: &'static str, limit: usize) -> Self {
        Self { stream, limit, bytes: Arc::new(Mutex::new(Vec::new())) }
    }

    /// What was written until now.
    pub(super) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.bytes.lock())
    }
}

impl IsTerminal for Written {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Written {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // Preview 1 writes to the other one.
        ClosedOutputStream.async_stream()
    }
}

impl OutputStream for Written {
    fn write(&mut self, written: Bytes) -> StreamResult<()> {
        let mut bytes = self.bytes.lock();
        if written.len() > self.limit - bytes.len() {
            // An error that the guest could overlook would have it end well, without its output.
            return Err(StreamError::Trap(GuestFault::OutOfOutput { stream: self.stream, limit: self.limit }.into()));
        }
        bytes.extend_from_slice(&written);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(usize::MAX)
    }
}

#[async_trait]
impl Pollable for Written {
    async fn ready(&mut self) {}
}
