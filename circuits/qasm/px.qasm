// px with 3 repetitions: one edge at x. <Z> is the mean of 1 - 2 c.
// The input is u = arccos(tanh(x)); it is not called x, for x is a gate of stdgates.inc.
OPENQASM 3.0;
include "stdgates.inc";
input float[64] u;
input float[64] theta_0;
input float[64] theta_1;
input float[64] theta_2;
input float[64] theta_3;
input float[64] w_0;
input float[64] w_1;
input float[64] w_2;
input float[64] b_0;
input float[64] b_1;
input float[64] b_2;
qubit q;
bit c;
reset q;
h q;
rz(theta_0) q;
rx(w_0 * u + b_0) q;
rz(theta_1) q;
rx(w_1 * u + b_1) q;
rz(theta_2) q;
rx(w_2 * u + b_2) q;
rz(theta_3) q;
c = measure q;
