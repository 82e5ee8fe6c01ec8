//! How nodes reach each other: streams of bytes, over TCP or whatever else makes them.

use std::io;
use std::net::SocketAddr;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

/// A stream of bytes between two nodes.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

/// Makes connections to other nodes.
#[async_trait]
pub trait Network: Send + Sync {
    /// Connects to an address, as a member of the cluster has told it.
    ///
    /// # Errors
    /// Where nobody answers there.
    async fn dial(&self, address: &str) -> io::Result<Box<dyn Stream>>;
}

/// Takes the connections that other nodes make.
#[async_trait]
pub trait Listener: Send + 'static {
    /// Waits for the next connection.
    ///
    /// # Cancel safety
    /// May be dropped and called again; no connection is lost.
    ///
    /// # Errors
    /// Where the system has none to give now.
    async fn accept(&mut self) -> io::Result<(Box<dyn Stream>, SocketAddr)>;
}

/// The network of real nodes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tcp;

#[async_trait]
impl Network for Tcp {
    async fn dial(&self, address: &str) -> io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }
}

#[async_trait]
impl Listener for TcpListener {
    async fn accept(&mut self) -> io::Result<(Box<dyn Stream>, SocketAddr)> {
        let (stream, from) = Self::accept(self).await?;
        // A connection without it only takes longer.
        let _ = stream.set_nodelay(true);
        Ok((Box::new(stream), from))
    }
}
