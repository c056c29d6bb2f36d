//! Examples of larder, one directory a question. This library is empty: the programs are beside it, and the tests in
//! `tests/run` start each of them, hold the guide to what its program prints, and run the code of the pages in `docs/`.
