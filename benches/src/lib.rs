//! Side-by-side benchmarks: one file a question in `benches/`, each naming its rival. Nothing is here.
//!
//! `cargo bench -p benches --bench hit`: what does a hit in memory cost, against moka and a bare quick_cache?
//! `cargo bench -p benches --bench allocations`: what does a hit allocate?
//! `cargo bench -p benches --bench memory`: does memory stay within its bound under ten times as much?
