//! Fakes that behave, and the suites every real part has to pass. Feature `testing`.
