static int helper(int n) {
    return n % 2 ? n * 3 + 1 : n / 2;
}

int library_call(int n) {
    int steps = 0;
    while (n > 1 && steps < 100) {
        n = helper(n);
        steps++;
    }
    return steps;
}

int library_idle(int n) {
    return n || helper(n);
}
