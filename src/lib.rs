//! lenetc
