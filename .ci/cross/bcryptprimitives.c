/* ProcessPrng for versions of wine without bcryptprimitives.dll. The random bytes come from advapi32. */
#include <windows.h>

BOOLEAN NTAPI SystemFunction036(PVOID bytes, ULONG length); /* RtlGenRandom */

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE bytes, SIZE_T length)
{
    const SIZE_T most = 1 << 30;
    for (SIZE_T done = 0; done < length;) {
        SIZE_T part = length - done < most ? length - done : most;
        if (!SystemFunction036(bytes + done, (ULONG)part))
            return FALSE;
        done += part;
    }
    return TRUE;
}
