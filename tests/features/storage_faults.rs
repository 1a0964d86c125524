//! storage_faults
