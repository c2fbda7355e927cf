//! Whole-system scenarios. The tests are in `scenarios/`; the programs they run are in `src/bin/`.
