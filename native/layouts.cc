// Sizes and offsets of the kernel structures that TypeScript lays out itself, as this compiler sees them. A test
// compares every one with its declaration in src/ (src/host/layout.ts).
#include <linux/stddef.h>
// In C++ an empty struct takes a byte, and before Linux 6.7 the headers put one before a flexible array: what they then
// declare is not what the kernel has.
#undef __DECLARE_FLEX_ARRAY
#define __DECLARE_FLEX_ARRAY(TYPE, NAME) TYPE NAME[0]
#include <linux/io_uring.h>
#include <linux/kvm.h>
#include <stddef.h>

#include "shim.h"

namespace tsvmm {

#define STRUCT(type) current = Begin(env, all, #type, sizeof(struct type));
#define FIELD(type, name) Set(env, current, #name, offsetof(struct type, name))

static void Set(napi_env env, napi_value object, const char* name, size_t number) {
  napi_set_named_property(env, object, name, NumberOf(env, static_cast<int64_t>(number)));
}

static napi_value Begin(napi_env env, napi_value all, const char* name, size_t size) {
  napi_value fields = nullptr, entry = nullptr;
  napi_create_object(env, &fields);
  napi_create_object(env, &entry);
  Set(env, entry, "size", size);
  napi_set_named_property(env, entry, "offsets", fields);
  napi_set_named_property(env, all, name, entry);
  return fields;
}

// layouts() -> { [struct]: { size, offsets: { [field]: number } } }
static napi_value Layouts(napi_env env, napi_callback_info info) {
  napi_value all = nullptr, current = nullptr;
  napi_create_object(env, &all);

  STRUCT(kvm_userspace_memory_region)
  FIELD(kvm_userspace_memory_region, slot), FIELD(kvm_userspace_memory_region, flags);
  FIELD(kvm_userspace_memory_region, guest_phys_addr), FIELD(kvm_userspace_memory_region, memory_size);
  FIELD(kvm_userspace_memory_region, userspace_addr);
  STRUCT(kvm_irq_level)
  FIELD(kvm_irq_level, irq), FIELD(kvm_irq_level, level);
  STRUCT(kvm_ioeventfd)
  FIELD(kvm_ioeventfd, datamatch), FIELD(kvm_ioeventfd, addr), FIELD(kvm_ioeventfd, len), FIELD(kvm_ioeventfd, fd);
  FIELD(kvm_ioeventfd, flags);
  STRUCT(kvm_irqfd)
  FIELD(kvm_irqfd, fd), FIELD(kvm_irqfd, gsi), FIELD(kvm_irqfd, flags), FIELD(kvm_irqfd, resamplefd);
  STRUCT(kvm_irq_routing)
  FIELD(kvm_irq_routing, nr), FIELD(kvm_irq_routing, flags), FIELD(kvm_irq_routing, entries);
  STRUCT(kvm_irq_routing_entry)
  FIELD(kvm_irq_routing_entry, gsi), FIELD(kvm_irq_routing_entry, type), FIELD(kvm_irq_routing_entry, flags);
  FIELD(kvm_irq_routing_entry, u);
  STRUCT(kvm_enable_cap)
  FIELD(kvm_enable_cap, cap), FIELD(kvm_enable_cap, flags), FIELD(kvm_enable_cap, args);
  STRUCT(kvm_mp_state)
  FIELD(kvm_mp_state, mp_state);
  STRUCT(kvm_translation)
  FIELD(kvm_translation, linear_address), FIELD(kvm_translation, physical_address), FIELD(kvm_translation, valid);
  STRUCT(kvm_clock_data)
  FIELD(kvm_clock_data, clock), FIELD(kvm_clock_data, flags), FIELD(kvm_clock_data, realtime), FIELD(kvm_clock_data, host_tsc);
  STRUCT(kvm_device_attr)
  FIELD(kvm_device_attr, flags), FIELD(kvm_device_attr, group), FIELD(kvm_device_attr, attr), FIELD(kvm_device_attr, addr);
  STRUCT(kvm_run)
  FIELD(kvm_run, request_interrupt_window), FIELD(kvm_run, immediate_exit), FIELD(kvm_run, exit_reason);
  FIELD(kvm_run, ready_for_interrupt_injection), FIELD(kvm_run, if_flag), FIELD(kvm_run, flags), FIELD(kvm_run, cr8);
  FIELD(kvm_run, apic_base), FIELD(kvm_run, io), FIELD(kvm_run, kvm_valid_regs), FIELD(kvm_run, kvm_dirty_regs);
#ifdef __x86_64__
  STRUCT(kvm_pit_config)
  FIELD(kvm_pit_config, flags);
  STRUCT(kvm_cpuid2)
  FIELD(kvm_cpuid2, nent), FIELD(kvm_cpuid2, entries);
  STRUCT(kvm_cpuid_entry2)
  FIELD(kvm_cpuid_entry2, function), FIELD(kvm_cpuid_entry2, index), FIELD(kvm_cpuid_entry2, flags);
  FIELD(kvm_cpuid_entry2, eax), FIELD(kvm_cpuid_entry2, ebx), FIELD(kvm_cpuid_entry2, ecx), FIELD(kvm_cpuid_entry2, edx);
  STRUCT(kvm_msrs)
  FIELD(kvm_msrs, nmsrs), FIELD(kvm_msrs, entries);
  STRUCT(kvm_msr_entry)
  FIELD(kvm_msr_entry, index), FIELD(kvm_msr_entry, data);
  STRUCT(kvm_msr_list)
  FIELD(kvm_msr_list, nmsrs), FIELD(kvm_msr_list, indices);
  STRUCT(kvm_regs)
  FIELD(kvm_regs, rax), FIELD(kvm_regs, rbx), FIELD(kvm_regs, rcx), FIELD(kvm_regs, rdx), FIELD(kvm_regs, rsi);
  FIELD(kvm_regs, rdi), FIELD(kvm_regs, rsp), FIELD(kvm_regs, rbp), FIELD(kvm_regs, r8), FIELD(kvm_regs, r9);
  FIELD(kvm_regs, r10), FIELD(kvm_regs, r11), FIELD(kvm_regs, r12), FIELD(kvm_regs, r13), FIELD(kvm_regs, r14);
  FIELD(kvm_regs, r15), FIELD(kvm_regs, rip), FIELD(kvm_regs, rflags);
  STRUCT(kvm_segment)
  FIELD(kvm_segment, base), FIELD(kvm_segment, limit), FIELD(kvm_segment, selector), FIELD(kvm_segment, type);
  FIELD(kvm_segment, present), FIELD(kvm_segment, dpl), FIELD(kvm_segment, db), FIELD(kvm_segment, s);
  FIELD(kvm_segment, l), FIELD(kvm_segment, g), FIELD(kvm_segment, avl), FIELD(kvm_segment, unusable);
  STRUCT(kvm_dtable)
  FIELD(kvm_dtable, base), FIELD(kvm_dtable, limit);
  STRUCT(kvm_sregs)
  FIELD(kvm_sregs, cs), FIELD(kvm_sregs, ds), FIELD(kvm_sregs, es), FIELD(kvm_sregs, fs), FIELD(kvm_sregs, gs);
  FIELD(kvm_sregs, ss), FIELD(kvm_sregs, tr), FIELD(kvm_sregs, ldt), FIELD(kvm_sregs, gdt), FIELD(kvm_sregs, idt);
  FIELD(kvm_sregs, cr0), FIELD(kvm_sregs, cr2), FIELD(kvm_sregs, cr3), FIELD(kvm_sregs, cr4), FIELD(kvm_sregs, cr8);
  FIELD(kvm_sregs, efer), FIELD(kvm_sregs, apic_base), FIELD(kvm_sregs, interrupt_bitmap);
  STRUCT(kvm_vcpu_events)
  FIELD(kvm_vcpu_events, exception), FIELD(kvm_vcpu_events, interrupt), FIELD(kvm_vcpu_events, nmi);
  FIELD(kvm_vcpu_events, sipi_vector), FIELD(kvm_vcpu_events, flags), FIELD(kvm_vcpu_events, smi);
  STRUCT(kvm_debugregs)
  FIELD(kvm_debugregs, db), FIELD(kvm_debugregs, dr6), FIELD(kvm_debugregs, dr7), FIELD(kvm_debugregs, flags);
  STRUCT(kvm_xcrs)
  FIELD(kvm_xcrs, nr_xcrs), FIELD(kvm_xcrs, flags), FIELD(kvm_xcrs, xcrs);
  STRUCT(kvm_irqchip)
  FIELD(kvm_irqchip, chip_id), FIELD(kvm_irqchip, chip);
  STRUCT(kvm_pit_state2)
  FIELD(kvm_pit_state2, channels), FIELD(kvm_pit_state2, flags);
#endif

  STRUCT(io_uring_params)
  FIELD(io_uring_params, sq_entries), FIELD(io_uring_params, cq_entries), FIELD(io_uring_params, flags);
  FIELD(io_uring_params, sq_thread_cpu), FIELD(io_uring_params, sq_thread_idle), FIELD(io_uring_params, features);
  FIELD(io_uring_params, wq_fd), FIELD(io_uring_params, sq_off), FIELD(io_uring_params, cq_off);
  STRUCT(io_sqring_offsets)
  FIELD(io_sqring_offsets, head), FIELD(io_sqring_offsets, tail), FIELD(io_sqring_offsets, ring_mask);
  FIELD(io_sqring_offsets, ring_entries), FIELD(io_sqring_offsets, flags), FIELD(io_sqring_offsets, dropped);
  FIELD(io_sqring_offsets, array);
  STRUCT(io_cqring_offsets)
  FIELD(io_cqring_offsets, head), FIELD(io_cqring_offsets, tail), FIELD(io_cqring_offsets, ring_mask);
  FIELD(io_cqring_offsets, ring_entries), FIELD(io_cqring_offsets, overflow), FIELD(io_cqring_offsets, cqes);
  FIELD(io_cqring_offsets, flags);
  STRUCT(io_uring_sqe)
  FIELD(io_uring_sqe, opcode), FIELD(io_uring_sqe, flags), FIELD(io_uring_sqe, ioprio), FIELD(io_uring_sqe, fd);
  FIELD(io_uring_sqe, off), FIELD(io_uring_sqe, addr), FIELD(io_uring_sqe, len), FIELD(io_uring_sqe, rw_flags);
  FIELD(io_uring_sqe, user_data), FIELD(io_uring_sqe, buf_index), FIELD(io_uring_sqe, personality);
  FIELD(io_uring_sqe, splice_fd_in), FIELD(io_uring_sqe, addr3);
  STRUCT(io_uring_cqe)
  FIELD(io_uring_cqe, user_data), FIELD(io_uring_cqe, res), FIELD(io_uring_cqe, flags);

  // The parts of kvm_run's exit union, relative to its start (`io`).
  const auto exit = offsetof(struct kvm_run, io);
  current = Begin(env, all, "kvm_run_exits", 0);
#define EXIT(name, field) Set(env, current, #name "_" #field, offsetof(struct kvm_run, name.field) - exit)
  EXIT(io, direction), EXIT(io, size), EXIT(io, port), EXIT(io, count), EXIT(io, data_offset);
  EXIT(mmio, phys_addr), EXIT(mmio, data), EXIT(mmio, len), EXIT(mmio, is_write);
  EXIT(fail_entry, hardware_entry_failure_reason), EXIT(internal, suberror), EXIT(internal, ndata), EXIT(internal, data);
  EXIT(system_event, type), EXIT(system_event, ndata), EXIT(system_event, data);
  EXIT(msr, error), EXIT(msr, reason), EXIT(msr, index), EXIT(msr, data), EXIT(eoi, vector);
  EXIT(hw, hardware_exit_reason), EXIT(ex, exception), EXIT(ex, error_code);
#undef EXIT
  return all;
}

void ExportLayouts(napi_env env, Napi::Object exports) { Export(env, exports, "layouts", Layouts); }

}  // namespace tsvmm
