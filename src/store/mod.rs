//! The buffer.

mod block;
