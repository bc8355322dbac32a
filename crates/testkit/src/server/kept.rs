//! Owns a server that lives as long as the test process: many tests of one program share it. Never ends it before.

use std::io;
use std::ops::Deref;
use std::process::{Child, Command, Stdio};

use super::Server;

/// A server for a `static`, whose value is never dropped: a helper process ends the server and removes its directory as soon as the
/// test process is gone, however it ended.
#[derive(Debug)]
pub struct KeptServer {
    server: Server,
    /// Waits on a pipe that closes with this process.
    keeper: Child,
}

impl KeptServer {
    /// Keeps a server until this process ends.
    pub fn new(server: Server) -> io::Result<Self> {
        let keeper = Command::new("sh")
            .args(["-c", "read -r _; kill -KILL \"$0\"; rm -rf -- \"$1\""])
            .arg(server.id().to_string())
            .arg(server.directory())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { server, keeper })
    }
}

impl Deref for KeptServer {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Drop for KeptServer {
    fn drop(&mut self) {
        // The server ends with its value; nobody must end another process of its number later.
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}
