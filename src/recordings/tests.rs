//! Recordings from the threads' side: what is found on the disk whatever becomes of the server.
