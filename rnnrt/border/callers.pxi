# One caller at a time: with the GIL a plain flag tells; without it the flag is taken in one step of the
# processor.

cdef extern from *:
    """
    #ifdef Py_GIL_DISABLED
    static inline int rnnrt_take_flag(char *flag) { return !__atomic_exchange_n(flag, 1, __ATOMIC_ACQUIRE); }
    static inline void rnnrt_leave_flag(char *flag) { __atomic_store_n(flag, 0, __ATOMIC_RELEASE); }
    #else
    static inline int rnnrt_take_flag(char *flag) { return *flag ? 0 : (*flag = 1); }
    static inline void rnnrt_leave_flag(char *flag) { *flag = 0; }
    #endif
    """
    bint rnnrt_take_flag(char *flag) noexcept nogil
    void rnnrt_leave_flag(char *flag) noexcept nogil
