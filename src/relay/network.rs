//! How nodes reach each other: streams of bytes, over TCP or whatever else makes them; not how
//! these are secured (`tls` does that).

use std::io;
use std::net::SocketAddr;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

use crate::relay::error::HelloError;
use crate::relay::tls::Tls;
use crate::types::NodeId;

/// A stream of bytes between two nodes.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

/// Makes connections to other nodes.
#[async_trait]
pub trait Network: Send + Sync {
    /// Connects to a node at its address, as it has told it to the cluster.
    ///
    /// # Errors
    /// [`HelloError`] where nobody answers there, or, as far as the network can tell, another one
    /// does.
    async fn dial(&self, node: &NodeId, address: &str) -> Result<Box<dyn Stream>, HelloError>;
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
#[derive(Debug, Clone, Default)]
pub struct Tcp {
    /// What secures connections, where they are not plain.
    pub tls: Option<Tls>,
}

#[async_trait]
impl Network for Tcp {
    async fn dial(&self, node: &NodeId, address: &str) -> Result<Box<dyn Stream>, HelloError> {
        let lost = |error: io::Error| HelloError::Lost(format!("{address}: {error}"));
        let stream = TcpStream::connect(address).await.map_err(lost)?;
        stream.set_nodelay(true).map_err(lost)?;
        match &self.tls {
            Some(tls) => tls.connect(Box::new(stream), node).await,
            None => Ok(Box::new(stream)),
        }
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
