//! proxyctl runs and steers Twinport.
