"""The words of a finding's data: what tells findings of one kind apart, and what another line has to do with one."""

from __future__ import annotations

from enum import StrEnum


class Detail(StrEnum):
    """A finding's `detail`, by the kinds that have it. A finding without one is the kind's plain form."""

    # bad-launch
    NOT_SET = "not-set"
    ROUNDED_DOWN = "rounded-down"  # one component of a grid or a block is 0
    TOO_MANY_THREADS = "too-many-threads"
    CLUSTER = "cluster"  # its size, or a grid that it does not divide
    TENSOR_MAP = "tensor-map"

    # out-of-bounds; without a detail it is past the end
    BEFORE_START = "before-start"
    STRAY_POINTER = "stray-pointer"  # the address lies in no array
    NOT_REQUESTED = "shared-not-requested"  # of dynamic shared memory, of which the launch asked for none
    DYNAMIC_SHARED = "dynamic-shared"  # past the end of what the launch asked for

    # also of other faults: the kernel reads threadIdx.y, and the block has only one thread along y
    FLAT_BLOCK = "flat-block"

    # uninitialised-read
    GLOBAL_MEMORY = "global-memory"  # an output that nothing has written yet
    COPY_IN_FLIGHT = "copy-in-flight"  # also a race: read before its asynchronous copy was waited for
    NO_MBARRIER = "no-mbarrier"  # used as an mbarrier without being one

    # misaligned-access
    FRAGMENT = "fragment"  # of a warp's matrix product
    OWN_ALIGNMENT = "own-alignment"  # the array is where its type may lie, which is not enough
    BULK_SIZE = "bulk-size"  # of a bulk copy: no multiple of 16

    # race; without a detail it is within a block
    BETWEEN_BLOCKS = "between-blocks"  # both write
    READ_BETWEEN_BLOCKS = "read-between-blocks"  # one of them reads
    PLAIN_READ = "plain-read"  # between blocks: a plain load of what is written atomically
    BOTH_WRITE = "both-write"  # within a block that has no other barriers
    UNTRIED_SWAP = "swap-not-tried-again"  # a read, and a compare-and-swap that may fail
    UPDATE = "update"  # each side reads the element and stores it again, as in count[i]++
    BLOCK_SCOPE = "block-scope"  # between blocks, through an atomic of block scope
    WITH_COPY = "with-copy"  # an asynchronous copy is on one side
    WITH_PRODUCT = "with-product"  # a wgmma may still read what is overwritten
    OWN_BARRIERS = "own-barriers"  # within a block that has mbarriers or named barriers
    NO_PROXY_FENCE = "no-proxy-fence"  # a bulk copy of what threads stored
    UNFINISHED_COPY = "unfinished-copy"  # the block ends first
    NO_TENSOR_MAP = "no-tensor-map"  # uninitialised-read: used as one without being one
    MISALIGNED_TILE = "misaligned-tile"  # misaligned-access: of a tensor copy, in shared memory
    WRONG_DESCRIPTOR = "wrong-descriptor"  # misaligned-access: of wgmma, not as the tile was written
    REGISTER_COUNT = "register-count"  # trap: of setmaxnreg
    EARLY_ACCUMULATOR = "early-accumulator"  # of wgmma: used before its group was waited for
    NO_PRODUCT_FENCE = "no-product-fence"  # wgmma without wgmma.fence before it
    CHANGED_REGISTER = "changed-register"  # wgmma without wgmma.fence since its registers were changed
    EARLY_FACTOR = "early-factor"  # a register of wgmma's A, changed before its group was waited for
    LEFT_BLOCK = "left-block"  # shared memory of another block of the cluster, which may have ended

    # barrier-divergence
    COUNTS_DIFFER = "counts-differ"  # of one named barrier
    THREAD_COUNT = "thread-count"  # a barrier for a number of threads that cannot come
    PASSED_EARLY = "passed-early"  # a wait for a phase that was over
    BARRIER_NUMBER = "barrier-number"  # a barrier that a block does not have
    BRANCH_INDEX = "branch-index"  # brx.idx past the end of its labels
    COOPERATIVE_LAUNCH = "cooperative-launch"  # grid.sync() without one
    STUCK_MBARRIER = "stuck-mbarrier"
    MBARRIER_MISUSE = "mbarrier-misuse"
    CLUSTER_BARRIER = "cluster-barrier"  # some threads of the cluster never arrive
    CLUSTER_ORDER = "cluster-order"  # arrives twice without a wait in between, or waits without arriving

    # collective-mismatch; without a detail lanes of the mask never arrive
    SPLIT_WARPGROUP = "split-warpgroup"  # a wgmma that not all four warps run
    ABSENT_LANE = "absent-lane"  # it reads a lane that the mask leaves out
    WHOLE_WARP = "whole-warp"  # a lane is missing where all must take part, as in a matrix product
    OWN_LANE = "own-lane"  # the mask leaves out the calling lane

    # did-not-finish
    WAITS_FOR_OTHERS = "waits-for-others"  # the loop reads what other threads may change
    RECURSION = "recursion"
    NO_EFFECT = "no-effect"  # the compiler warns of an expression that does nothing

    # trap
    ASSERTION = "assertion"

    # wrong-values: the bits of the input alone say what is right; and beside them a random number
    CONVERSION = "conversion"
    STOCHASTIC_CONVERSION = "stochastic-conversion"
    UNSET_VARIABLE = "unset-variable"  # its result is infinite, and a variable was never set
    ONE_SHARED_ARRAY = "one-shared-array"  # several extern __shared__ arrays, which are one
    UNTOUCHED = "untouched"  # the whole submission is the starter as it came
    NOT_WRITTEN = "not-written"  # the kernel needs what is still as in the starter
    STEP_LEFT = "step-left"  # of a kernel that has been begun, a step is still as in the starter


class Role(StrEnum):
    """What a Related line has to do with the finding."""

    OTHER_ACCESS = "other-access"  # of a race: as guilty as the finding's own line
    CALL = "call"  # calls the student's function that holds the finding's line; the innermost call comes first
    PRODUCT = "product"  # the wgmma that was not waited for
    CHANGE = "change"  # changes a register of a wgmma
    COPY = "copy"  # starts the asynchronous copy that was not waited for
    WAIT = "wait"  # where other threads wait instead
    LOOP = "loop"  # where a loop that never ends still was
    UNSET = "unset"  # may use a variable that nothing has set
    TODO = "todo"  # a step of the starter that is still as it came
    NOTICED = "noticed"  # where the compiler stopped at what is missing before
    INSTANTIATION = "instantiation"  # of the template that holds the finding's line
